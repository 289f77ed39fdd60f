"""What has to be done for a daemon to have the jobs that files declare, and only that. Pure.

A field that a file does not name has its default, so a second look after all is done finds nothing to do. Two things
are the daemon's to fill in and are no difference: the start of `Rn//<duration>`, and the digest of an image that a
job pins.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from api.cli.declaring.form import FIELDS, Declared

#: A start as the daemon writes it into a schedule that has none.
_WRITTEN_IN: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
#: Lists whose order means nothing.
_SETS: Final = frozenset({"retry_on", "capabilities", "mounts"})
_IMAGE: Final = ("docker_image_repo", "docker_image_tag", "pin_digest")
_DIGEST: Final = "docker_image_digest"


class PlanAction(StrEnum):
    """What is done with one job."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    NOTHING = "unchanged"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, or one entry of a mapping, that becomes another; None for one that is not there."""

    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """What is to be done with one job.

    Attributes:
        id: of the stored job; None for one that does not exist yet.
        changes: by field, for people; the entries of variables and labels one by one, as `runtime_vars.MODE`.
        body: what the API is sent.
        place: where the job is declared; empty for one to be deleted.
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
    """The steps, in the order of the files; what is to be deleted comes last.

    Args:
        declared: each with its namespace, none of them twice.
        stored: the daemon's jobs in those namespaces, as the API answers them.
        defaults: what fields are that a file does not name.
        pruned: the namespaces whose other jobs are to be deleted.
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
        body["schedule_mode"] = target["schedule_mode"]  # or it would go on from its old start
    if target.get(_DIGEST) and any(name in body for name in _IMAGE):
        body[_DIGEST] = target[_DIGEST]  # or the daemon would forget it with the image that it knew
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
    """Whether a stored job has what is wanted of a field."""
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


def _same(name: str, one: Any, other: Any) -> bool:
    if name in _SETS and isinstance(one, list) and isinstance(other, list):
        return sorted(map(repr, map(_ordered, one))) == sorted(map(repr, map(_ordered, other)))
    # 1 == True in Python; here they are different things.
    return type(one) is type(other) and bool(one == other)


def _ordered(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, dict) else value


def _parts(name: str, before: Any, after: Any) -> dict[str, FieldChange]:
    """A field's change; that of a mapping entry by entry."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return {name: FieldChange(before, after)}
    return {
        f"{name}.{key}": FieldChange(before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    }


def _place(item: tuple[str, Any]) -> int:
    return FIELDS.index(item[0])
