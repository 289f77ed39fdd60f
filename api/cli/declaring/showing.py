"""Formats a plan and its outcome, for people and for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import click

from api.cli.declaring.plan import PlanAction, PlanStep

_MARKS: Final = {
    PlanAction.CREATE: ("+", "green"),
    PlanAction.CHANGE: ("~", "yellow"),
    PlanAction.DELETE: ("-", "red"),
}
#: What the summary says of each action: planned, and done.
_WORDS: Final = {
    PlanAction.CREATE: ("to create", "created"),
    PlanAction.CHANGE: ("to update", "updated"),
    PlanAction.DELETE: ("to delete", "deleted"),
}
_LONGEST: Final = 300


class StepStatus(StrEnum):
    """The outcome of a step."""

    PLANNED = "planned"  # a dry run
    DONE = "done"
    FAILED = "failed"  # the daemon rejected it
    SKIPPED = "skipped"  # an earlier step failed


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """A step with its outcome."""

    step: PlanStep
    status: StepStatus
    error: str | None = None


def shown(step: PlanStep) -> str:
    """A step with its changes, for people; empty if it changes nothing."""
    if step.action is PlanAction.NOTHING:
        return ""
    mark, colour = _MARKS[step.action]
    head = click.style(f"{mark} {_clean(step.namespace)}/{_clean(step.name)}", fg=colour, bold=True)
    if step.action is PlanAction.DELETE:
        return f"{head}  with all its runs and logs"
    lines = [head]
    for name, change in step.changes.items():
        if step.action is PlanAction.CREATE:
            lines.append(f"    {_clean(name)}: {_value(change.after)}")
        else:
            before = click.style(_value(change.before), fg="red")
            after = click.style(_value(change.after), fg="green")
            lines.append(f"    {_clean(name)}: {before} → {after}")
    return "\n".join(lines)


def summary(outcomes: Iterable[StepOutcome], *, is_dry: bool) -> str:
    """The number of jobs by outcome."""
    found = list(outcomes)
    wanted = StepStatus.PLANNED if is_dry else StepStatus.DONE
    words = []
    for action, (planned, done) in _WORDS.items():
        if number := sum(outcome.step.action is action and outcome.status is wanted for outcome in found):
            words.append(f"{number} {planned if is_dry else done}")
    if unchanged := sum(outcome.step.action is PlanAction.NOTHING for outcome in found):
        words.append(f"{unchanged} unchanged")
    for status, word in ((StepStatus.FAILED, "failed"), (StepStatus.SKIPPED, "skipped")):
        if number := sum(outcome.status is status for outcome in found):
            words.append(f"{number} {word}")
    text = ", ".join(words) or "nothing to do"
    return f"Dry run: {text}. Nothing was changed." if is_dry else f"{text[0].upper()}{text[1:]}."


def as_data(outcomes: Iterable[StepOutcome], *, is_dry: bool) -> dict[str, Any]:
    """The outcomes as data, for programs."""
    jobs: list[Mapping[str, Any]] = []
    for outcome in outcomes:
        step = outcome.step
        jobs.append(
            {
                "action": step.action.value,
                "namespace": step.namespace,
                "name": step.name,
                "id": step.id,
                "status": outcome.status.value,
                "changes": {
                    name: {"from": change.before, "to": change.after} for name, change in step.changes.items()
                },
                "error": outcome.error,
            }
        )
    return {"dry_run": is_dry, "jobs": jobs}


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return _clean(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)")


def _clean(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)
