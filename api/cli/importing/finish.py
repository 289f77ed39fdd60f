"""The last step for every format: the user's choices for what files leave open, and the checks of the API. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from api.cli.declaring.form import Declared, checked, explain
from api.cli.importing.gocron import Translated
from api.cli.importing.result import Imported

_NO_ZONE: Final = (
    "does not name a time zone; its schedules followed the clock of the old machine and now use UTC; set another "
    "time zone with --timezone"
)
_NO_SIZE: Final = (
    "contains jobs without CPU and memory limits; they get the daemon's default size (XXS, 0.15 CPU and 64 MiB, "
    "unless configured differently); set another size with --size"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The user's choices for all jobs in a file.

    Attributes:
        namespace: the namespace of jobs that do not name one.
        timezone: the time zone of schedules that do not name one.
        size: the size of jobs without limits.
        inactive: whether all schedules are left switched off.
    """

    namespace: str | None = None
    timezone: str | None = None
    size: str | None = None
    inactive: bool = False


def finish(result: Imported, file: str, choices: Choices) -> list[Declared]:
    """The jobs that the API would accept. The others get a note.

    Args:
        result: the result of reading the file; gets the notes, sorted by line.
        file: the name of the file.
        choices: the user's choices.
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
            result.lose(found.line, f"'{fields['name']}' is not imported: {why}")
            continue
        name, namespace = given.pop("name"), given.pop("namespace", None)
        place = file if found.line is None else f"{file}:{found.line}"
        jobs.append(Declared(namespace=namespace, name=name, fields=given, place=place))
    result.notes.sort(key=lambda note: (note.line is None, note.line or 0))
    return jobs
