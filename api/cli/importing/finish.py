"""The last step of every format: what users choose where files say nothing, and the API's own checks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api.cli.declaring.form import Declared, checked, explain
from api.cli.importing.gocron import Translated
from api.cli.importing.result import Imported

_NO_ZONE: Final = (
    "names no time zone, so that its schedules follow the clock of where they ran; here they are in UTC unless "
    "--timezone says otherwise"
)
_NO_SIZE: Final = (
    "has jobs without limits of processors and memory; here they get the daemon's default size (XXS, 0.15 CPU and 64 "
    "MiB, unless the operator chose another) unless --size says otherwise"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What users say of all jobs of a file.

    Attributes:
        namespace: of jobs that name none.
        timezone: of schedules that name none.
        size: of jobs whose needs are not known.
        inactive: whether all schedules are left switched off.
    """

    namespace: str | None = None
    timezone: str | None = None
    size: str | None = None
    inactive: bool = False


def finish(result: Imported, file: str, choices: Choices) -> list[Declared]:
    """The jobs that the API would take; a note is made of every other.

    Args:
        result: what the file came to; it gets the notes, in the order of the lines.
        file: its name.
        choices: of the user.
    """
    if result.follows_wall_clock and choices.timezone is None:
        result.note(None, _NO_ZONE)
    if result.has_unsized and choices.size is None:
        result.note(None, _NO_SIZE)
    jobs = []
    for found in result.jobs:
        fields = dict(found.fields)
        if choices.namespace is not None:
            fields.setdefault("namespace", choices.namespace)
        schedule = fields.get("schedule_mode")
        if schedule and choices.timezone is not None and Translated(schedule).follows_wall_clock:
            fields.setdefault("schedule_timezone", choices.timezone)
        if choices.size is not None:
            fields.setdefault("resource_size", choices.size)
        if choices.inactive:
            fields.pop("is_schedule_active", None)
        given, errors = checked(fields)
        if errors:
            why = "; ".join(explain(error) for error in errors)
            result.lose(found.line, f"'{fields['name']}' is not carried over: {why}")
            continue
        name, namespace = given.pop("name"), given.pop("namespace", None)
        place = file if found.line is None else f"{file}:{found.line}"
        jobs.append(Declared(namespace=namespace, name=name, fields=given, place=place))
    result.notes.sort(key=lambda note: (note.line is None, note.line or 0))
    return jobs
