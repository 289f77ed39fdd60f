"""Compares two runs: their options and their results. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from scheduler.domain.execution import Exec, ExecSpec
from scheduler.domain.job import ContainerOptions, command_words


class Change(StrEnum):
    """How a value differs between the first run and the second."""

    ADDED = "added"  # only the second has it
    REMOVED = "removed"  # only the first has it
    CHANGED = "changed"  # both have one, and the values differ


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two runs.

    Attributes:
        field: the field of the run, as the API names it.
        name: for variables, secret files and labels, the name of the entry; None for other fields.
        change: how it differs.
        first: its value in the first run; None if it has none.
        second: its value in the second run; None if it has none.
    """

    field: str
    name: str | None
    change: Change
    first: Any
    second: Any


#: Options whose entries are compared one by one.
_BY_ENTRY: Final = ("runtime_vars", "secret_files", "labels")
#: Options that show in other differences: the digest of the image that was used is compared instead.
_NOT_COMPARED: Final = frozenset({"pin_digest", "docker_image_digest", *_BY_ENTRY})
_CONTAINER: Final = frozenset(option.name for option in fields(ContainerOptions))
#: The options of a run in the order in which differences are shown: what it does, then how its container is set up.
_OPTIONS: Final = tuple(
    sorted(
        (option.name for option in fields(ExecSpec) if option.name not in _NOT_COMPARED),
        key=_CONTAINER.__contains__,
    )
)


def differences(first: Exec, second: Exec) -> list[Difference]:
    """The differences of two runs; empty if they do not differ in anything that matters.

    Ids, times and users always differ and are left out. Commands are equal if their words are equal. Durations are
    compared in whole seconds, as the API shows them.
    """
    return [
        *_values({"image_digest": first.image_digest}, {"image_digest": second.image_digest}),
        *_values(_options(first), _options(second)),
        *(
            difference
            for name in _BY_ENTRY
            for difference in _values(getattr(first.spec, name), getattr(second.spec, name), field=name)
        ),
        *_values(_result(first), _result(second)),
    ]


def _options(run: Exec) -> dict[str, Any]:
    return {name: getattr(run.spec, name) for name in _OPTIONS} | {
        "command": command_words(run.spec.command),
        "mounts": [mount._asdict() for mount in run.spec.mounts],
    }


def _result(run: Exec) -> dict[str, Any]:
    seconds = None
    if run.started_at is not None and run.ended_at is not None:
        seconds = int((run.ended_at - run.started_at).total_seconds())
    return {
        "status": run.status,
        "exit_code": run.exit_code,
        "fail_reason": run.fail_reason,
        "error": run.error,
        "duration": seconds,
        "node": run.node,
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
