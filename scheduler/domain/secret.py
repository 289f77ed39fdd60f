"""Secrets: references to them in variables, and what is known about a secret without its value. Pure."""

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
#: The only key of a variable's value that refers to a secret.
REFERENCE: Final = "secret"


def is_name(text: str) -> bool:
    """Whether a text is a valid name for a secret."""
    return _NAME.fullmatch(text) is not None


def names_in(variables: Iterable[Variable]) -> set[str]:
    """The names of the secrets that variables refer to."""
    return {value[REFERENCE] for value in variables if not isinstance(value, str)}


def secrets_of(variables: Mapping[str, Variable], files: Mapping[str, str]) -> set[str]:
    """The names of all secrets that a job or a run uses, in variables or as files."""
    return names_in(variables.values()) | set(files.values())


def resolved(variables: Mapping[str, Variable], values: Mapping[str, str]) -> dict[str, str]:
    """The variables with references replaced by the secrets' values."""
    return {
        name: value if isinstance(value, str) else values[value[REFERENCE]]
        for name, value in variables.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret without its value.

    Attributes:
        used_by: number of jobs in its namespace that use it.
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
    """The result of a key rotation.

    Attributes:
        key: the new key's id.
        sealed_anew: number of secrets, credentials and webhook secrets that were sealed with the new key.
        cannot_be_opened: number of secrets that none of the previous keys opens, and which were left unchanged.
    """

    key: str
    sealed_anew: int
    cannot_be_opened: int
