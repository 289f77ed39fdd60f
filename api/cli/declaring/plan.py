"""Plans the changes that turn a daemon's jobs into those that files declare. Pure.

A field that a file does not set has its default, so applying the same file again changes nothing. Two values are
filled in by the daemon and are not differences: the start of `Rn//<duration>`, and the digest of an image that a job
pins.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from api.cli.declaring.form import FIELDS, Declared

#: A start as the daemon fills it into a schedule without one.
_WRITTEN_IN: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
#: Lists whose order does not matter.
_SETS: Final = frozenset({"retry_on", "capabilities", "mounts"})
_IMAGE: Final = ("docker_image_repo", "docker_image_tag", "pin_digest")
_DIGEST: Final = "docker_image_digest"


class PlanAction(StrEnum):
    """What is done with a job."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    NOTHING = "unchanged"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A change of a field or of an entry in a mapping; None for an absent value."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """A planned change of a job.

    Attributes:
        id: the id of the stored job; None for a job to create.
        changes: the changes by field, for people; variables and labels by entry, such as `runtime_vars.MODE`.
        body: the request body for the API.
        place: the file and line of the declaration; empty for a job to delete.
    """

    action: PlanAction
    namespace: str
    name: str
    id: int | None = None
    changes: Mapping[str, FieldChange] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""


def make_plan(
    declared: Iterable[Declared],
    stored: Iterable[Mapping[str, Any]],
    defaults: Mapping[str, Any],
    *,
    pruned: Collection[str] = (),
) -> list[PlanStep]:
    """The steps in the order of the files, with deletions last.

    Args:
        declared: the declared jobs, each with its namespace, without duplicates.
        stored: the daemon's jobs in those namespaces, as the API returns them.
        defaults: the values of fields that a file does not set.
        pruned: the namespaces whose other jobs are deleted.
    """
    there = {(job["namespace"], job["name"]): job for job in stored}
    wanted = list(declared)
    steps = []
    for job in wanted:
        namespace = job.namespace or ""
        before = there.pop((namespace, job.name), None)
        if before is None:
            body = {"name": job.name, "namespace": namespace, **job.fields}
            changes = {
                name: FieldChange(None, value)
                for name, value in sorted(job.fields.items(), key=_place)
                if not _same(name, value, defaults.get(name))
            }
            step = PlanStep(
                action=PlanAction.CREATE,
                namespace=namespace,
                name=job.name,
                changes=changes,
                body=body,
                place=job.place,
            )
        else:
            step = _change(job, before, defaults)
        steps.append(step)
    left = sorted(key for key in there if key[0] in pruned)
    steps += [
        PlanStep(action=PlanAction.DELETE, namespace=key[0], name=key[1], id=there[key]["id"]) for key in left
    ]
    return steps


def _change(job: Declared, before: Mapping[str, Any], defaults: Mapping[str, Any]) -> PlanStep:
    target = {**defaults, **job.fields}
    body = {
        name: target[name]
        for name in FIELDS
        if name in target
        and (name in before or name in job.fields)
        and not _is_met(name, job, target[name], before)
    }
    if body.get("is_schedule_active") and _has_no_start(target["schedule_mode"]):
        body["schedule_mode"] = target["schedule_mode"]  # otherwise it would continue from its old start
    if target.get(_DIGEST) and any(name in body for name in _IMAGE):
        body[_DIGEST] = target[_DIGEST]  # otherwise the daemon would drop it together with the old image
    changes: dict[str, FieldChange] = {}
    for name, after in sorted(body.items(), key=_place):
        changes |= _parts(name, before.get(name), after)
    action = PlanAction.CHANGE if body else PlanAction.NOTHING
    return PlanStep(
        action=action,
        namespace=before["namespace"],
        name=job.name,
        id=before["id"],
        changes=changes,
        body=body,
        place=job.place,
    )


def _is_met(name: str, job: Declared, wanted: Any, before: Mapping[str, Any]) -> bool:
    """Whether a field of a stored job already has the declared value."""
    have = before.get(name)
    if name == "schedule_mode" and _has_no_start(wanted) and isinstance(have, str):
        head, _, duration = wanted.partition("//")
        started = rf"{re.escape(head)}/{_WRITTEN_IN}/{re.escape(duration)}"
        return have == wanted or re.fullmatch(started, have) is not None
    if name == _DIGEST and name not in job.fields and job.fields.get("pin_digest"):
        return True
    return _same(name, wanted, have)


def _has_no_start(schedule: object) -> bool:
    return isinstance(schedule, str) and schedule.startswith("R") and "//" in schedule


def _same(name: str, a: Any, b: Any) -> bool:
    if name in _SETS and isinstance(a, list) and isinstance(b, list):
        return sorted(map(repr, map(_ordered, a))) == sorted(map(repr, map(_ordered, b)))
    # 1 == True in Python, but here they are different values.
    return type(a) is type(b) and bool(a == b)


def _ordered(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, dict) else value


def _parts(name: str, before: Any, after: Any) -> dict[str, FieldChange]:
    """The change of a field; that of a mapping entry by entry."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {name: FieldChange(before, after)}
    return {
        f"{name}.{key}": FieldChange(before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    }


def _place(item: tuple[str, Any]) -> int:
    return FIELDS.index(item[0])
