"""Secrets as users name them: what a variable refers to, and what is known of a secret but for its value. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from scheduler.domain.job import Variable

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
NAME_REMEDY: Final = (
    "use letters, digits, '.', '_' and '-', at most 128, beginning with a letter, digit or '_'"
)
#: The one key of a variable's value that refers to a secret.
REFERENCE: Final = "secret"


def is_name(text: str) -> bool:
    """Whether a secret could have that name."""
    return _NAME.fullmatch(text) is not None


def names_in(variables: Iterable[Variable]) -> set[str]:
    """The secrets that variables' values refer to."""
    return {value[REFERENCE] for value in variables if not isinstance(value, str)}


def secrets_of(variables: Mapping[str, Variable], files: Mapping[str, str]) -> set[str]:
    """All secrets that a job or a run names, in its variables or as files."""
    return names_in(variables.values()) | set(files.values())


def resolved(variables: Mapping[str, Variable], values: Mapping[str, str]) -> dict[str, str]:
    """The variables with the secrets' values in the place of their names."""
    return {
        name: value if isinstance(value, str) else values[value[REFERENCE]]
        for name, value in variables.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is known of a secret; its value is not.

    Attributes:
        used_by: how many jobs of its namespace name it.
    """

    namespace: str
    name: str
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime
    used_by: int = 0


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a new key has taken over.

    Attributes:
        key: the id of the new one.
        sealed_anew: how many secrets, credentials and hooks' secrets were sealed with it.
        cannot_be_opened: how many were left, as none of the former keys opens them.
    """

    key: str
    sealed_anew: int
    cannot_be_opened: int
