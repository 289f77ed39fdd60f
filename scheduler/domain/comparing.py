"""Compares two runs: what one was to do otherwise than the other, and what came of it otherwise.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from scheduler.domain.execution import Exec
from scheduler.domain.job import command_words


class Change(StrEnum):
    """What became of a value from the first run to the second."""

    ADDED = "added"  # only the second has it
    REMOVED = "removed"  # only the first has it
    CHANGED = "changed"  # both have one, and not the same


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two runs differ.

    Attributes:
        field: of a run, as the API names it.
        name: which of its entries, for variables, secret files and labels; None for other fields.
        change: what became of it.
        first: its value in the first run; None where it has none.
        second: likewise.
    """

    field: str
    name: str | None
    change: Change
    first: Any
    second: Any


#: What a run is to do, in the order in which differences are told. Secrets are names here as everywhere.
_ASKED: Final = (
    "docker_image_repo",
    "docker_image_tag",
    "command",
    "resource_size",
    "cpus",
    "memory_bytes",
    "region_name",
    "priority",
    "timeout_seconds",
    "stop_grace_seconds",
    "max_retries",
    "retry_backoff_seconds",
    "retry_on",
    "pull_policy",
    "concurrency_policy",
    "log_limit_bytes",
    "user",
    "read_only_root",
    "network",
    "capabilities",
    "mounts",
)


def differences(first: Exec, second: Exec) -> list[Difference]:
    """In what two runs differ; empty if in nothing that matters.

    Ids, moments and who asked always differ and are left out. Commands are the same if their words are. A run takes
    as long as another if it takes as many whole seconds, as the API shows them.
    """
    return [
        *_values({"image_digest": first.image_digest}, {"image_digest": second.image_digest}),
        *_values(_asked(first), _asked(second)),
        *_values(first.spec.runtime_vars, second.spec.runtime_vars, field="runtime_vars"),
        *_values(first.spec.secret_files, second.spec.secret_files, field="secret_files"),
        *_values(first.spec.labels, second.spec.labels, field="labels"),
        *_values(_became(first), _became(second)),
    ]


def _asked(one: Exec) -> dict[str, Any]:
    values = {name: getattr(one.spec, name) for name in _ASKED}
    return values | {
        "command": command_words(one.spec.command),
        "mounts": [mount._asdict() for mount in one.spec.mounts],
    }


def _became(one: Exec) -> dict[str, Any]:
    seconds = None
    if one.started_at is not None and one.ended_at is not None:
        seconds = int((one.ended_at - one.started_at).total_seconds())
    return {
        "status": one.status,
        "exit_code": one.exit_code,
        "fail_reason": one.fail_reason,
        "error": one.error,
        "duration": seconds,
        "node": one.node,
    }


def _values(
    first: Mapping[str, Any], second: Mapping[str, Any], *, field: str | None = None
) -> Iterator[Difference]:
    """The differences of two mappings: of fields by their names, or of the entries of one field."""
    for name in dict.fromkeys((*first, *second)):
        a, b = first.get(name), second.get(name)
        if a == b:
            continue
        change = Change.ADDED if a is None else Change.REMOVED if b is None else Change.CHANGED
        yield Difference(field or name, name if field else None, change, a, b)
