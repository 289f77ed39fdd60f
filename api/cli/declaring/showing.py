"""What a plan and its outcome look like, for people and for programs. Pure."""

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
_DONE: Final = {PlanAction.CREATE: "created", PlanAction.CHANGE: "changed", PlanAction.DELETE: "deleted"}
_LONGEST: Final = 300


class StepStatus(StrEnum):
    """What became of a step."""

    PLANNED = "planned"  # it was only looked at
    DONE = "done"
    FAILED = "failed"  # the daemon refused it
    SKIPPED = "skipped"  # something before it went wrong


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """A step with what became of it."""

    step: PlanStep
    status: StepStatus
    error: str | None = None


def shown(step: PlanStep) -> str:
    """A step with its changes, for people; nothing for one that does nothing."""
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
    """How many of what, in one sentence or two."""
    found = list(outcomes)
    wanted = StepStatus.PLANNED if is_dry else StepStatus.DONE
    counts = {
        action: sum(one.step.action is action and one.status is wanted for one in found)
        for action in PlanAction
    }
    words = [f"{counts[action]} {_DONE[action]}" for action in _DONE if counts[action]]
    if unchanged := sum(one.step.action is PlanAction.NOTHING for one in found):
        words.append(f"{unchanged} unchanged")
    for status, word in ((StepStatus.FAILED, "failed"), (StepStatus.SKIPPED, "not tried")):
        if number := sum(one.status is status for one in found):
            words.append(f"{number} {word}")
    text = ", ".join(words) or "nothing to do"
    return (
        f"Dry run, nothing was changed. It would be: {text}." if is_dry else f"{text[0].upper()}{text[1:]}."
    )


def as_data(outcomes: Iterable[StepOutcome], *, is_dry: bool) -> dict[str, Any]:
    """The same for programs."""
    jobs: list[Mapping[str, Any]] = []
    for one in outcomes:
        step = one.step
        jobs.append(
            {
                "action": step.action.value,
                "namespace": step.namespace,
                "name": step.name,
                "id": step.id,
                "status": one.status.value,
                "changes": {
                    name: {"from": change.before, "to": change.after} for name, change in step.changes.items()
                },
                "error": one.error,
            }
        )
    return {"dry_run": is_dry, "jobs": jobs}


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = json.dumps(value, ensure_ascii=False)
    return _clean(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)")


def _clean(text: str) -> str:
    return "".join(one if one.isprintable() else "�" for one in text)
