"""Converts Ofelia jobs from INI files, labels in a Compose file, or labels of containers. Pure.

The kinds of jobs, parameters and defaults are as in its documentation (README, docs/jobs.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from api.cli.importing.common import add_volume, image_fields, is_splittable, set_network, set_variables
from api.cli.importing.gocron import translate
from api.cli.importing.result import Imported

KINDS: Final = ("job-exec", "job-run", "job-local", "job-service-run", "job-compose")
_ELSEWHERE: Final = {
    "job-exec": "it runs in an existing container; create a job with that container's image and the command",
    "job-local": "it runs on the machine itself, not in a container; add the command to an image",
    "job-compose": "it runs a Compose service; create a job with the service's image and command",
}
_NOTIFICATIONS: Final = (
    "create a webhook (timeball hook), or set email_enabled to notify the job's owner by email when runs fail"
)
_HINTS: Final = {
    "save-folder": "the output of runs is stored in their logs",
    "save-only-on-error": "the output of runs is stored in their logs",
    "hostname": "every container has its own name",
    "volumes-from": "mount directories of the host",
    "container": "every run starts its own container",
    "dir": "the image's working directory is used",
    "delete": "the containers of ended runs are removed",
    "tty": "runs have no terminal",
}


@dataclass(slots=True)
class Section:
    """A job as written, independent of the kind of file.

    Attributes:
        kind: one of `KINDS`, or `global`.
        values: all values of each parameter, by name in lower case.
        lines: the line of each parameter.
    """

    kind: str
    name: str
    line: int | None
    values: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, int | None] = field(default_factory=dict)

    def put(self, name: str, value: str, line: int | None) -> None:
        """Add a value of a parameter."""
        self.values.setdefault(name.lower(), []).append(value)
        self.lines.setdefault(name.lower(), line)

    def take(self, name: str) -> str | None:
        """Remove a parameter and return its last value, which is the effective one."""
        values = self.values.pop(name, None)
        return values[-1] if values else None


def take_sections(sections: Sequence[Section], result: Imported) -> None:
    """Convert sections to jobs."""
    for section in sections:
        if section.kind == "global":
            for name in section.values:
                result.note(section.lines[name], f"{name} is not imported: {_hint(name)}")
        elif section.kind in _ELSEWHERE:
            what = f"{section.kind} '{section.name}'"
            result.lose(section.line, f"{what} is not imported: {_ELSEWHERE[section.kind]}")
        elif section.kind in KINDS:
            _take(section, result)
        else:
            result.lose(section.line, f"{section.kind} '{section.name}' is not imported: the kind is unknown")


def _take(section: Section, result: Imported) -> None:
    what = f"{section.kind} '{section.name}'"
    image = section.take("image")
    if not image:
        why = (
            "it starts an existing container; set its image"
            if "container" in section.values
            else "it has no image"
        )
        result.lose(section.line, f"{what} is not imported: {why}")
        return
    schedule_line = section.lines.get("schedule", section.line)
    found = translate(section.take("schedule") or "", seconds=True)
    if found.schedule is None:
        result.lose(schedule_line, f"{what} is not imported: {'; '.join(found.notes)}")
        return
    for note in found.notes:
        result.note(schedule_line, f"{what}: {note}")
    fields: dict[str, Any] = {
        "name": section.name,
        **image_fields(image),
        "schedule_mode": found.schedule,
        "is_schedule_active": True,
    }
    if found.zone is not None:
        fields["schedule_timezone"] = found.zone
    elif found.follows_wall_clock:
        result.follows_wall_clock = True
    _take_container(section, fields, result, what)
    result.has_unsized = True
    if section.kind == "job-service-run":
        result.note(
            section.line,
            f"{what} is a swarm service in Ofelia, and a container on the region's engine in Timeball",
        )
    for name in section.values:
        if (name, section.values[name][-1].strip().lower()) not in {("delete", "true"), ("tty", "false")}:
            result.note(section.lines[name], f"{what}: {name} is not imported: {_hint(name)}")
    result.add(section.line, fields)


def _take_container(section: Section, fields: dict[str, Any], result: Imported, what: str) -> None:
    command_line = section.lines.get("command", section.line)
    if command := section.take("command"):
        if is_splittable(command):
            fields["command"] = command
        else:
            result.note(command_line, f"{what}: command has an unclosed quote and is not imported")
    if user := section.take("user"):
        fields["user"] = user
    else:
        result.note_once(
            "Ofelia runs jobs without a user as root; Timeball uses the image's user, or root if you set user: root",
        )
    if network := section.take("network"):
        set_network(result, section.lines.get("network"), fields, network)
    for volume in _list(section.values.pop("volume", [])):
        add_volume(result, section.lines.get("volume"), fields, volume)
    set_variables(
        result, section.lines.get("environment"), fields, _list(section.values.pop("environment", []))
    )
    if _is_true(section.take("no-overlap")):
        fields["concurrency_policy"] = "forbid"
    pull = section.take("pull")
    if section.kind == "job-run" and (pull is None or _is_true(pull)):
        fields["pull_policy"] = "always"
        result.note_once(
            "images are pulled before every run (pull_policy: always), which fails for images that are not in a "
            "registry; Ofelia uses the local image then: set pull_policy to if_not_present for these",
        )


def _list(values: Sequence[str]) -> list[str]:
    """Values given individually, or as a JSON array, as in labels."""
    found: list[str] = []
    for value in values:
        if value.lstrip().startswith("["):
            try:
                found += [str(item) for item in json.loads(value)]
                continue
            except ValueError:
                pass
        found.append(value)
    return found


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() in {"1", "t", "true", "yes", "on", ""}


def _hint(name: str) -> str:
    if name.startswith(("slack-", "smtp-", "email-", "mail-")):
        return _NOTIFICATIONS
    return _HINTS.get(name, "there is no equivalent")


def label_sections(
    labels: Mapping[str, tuple[str, int | None]], where: str, result: Imported
) -> list[Section]:
    """The sections in the labels of a container: `ofelia.KIND.NAME.PARAMETER`.

    Args:
        labels: the value and line of each label.
        where: the name of the container.
        result: the result that gets the notes.
    """
    found: dict[tuple[str, str], Section] = {}
    for label, (value, line) in labels.items():
        parts = label.split(".")
        if parts[0] != "ofelia" or label in {"ofelia.enabled", "ofelia.service"}:
            continue
        if len(parts) == 2:
            found.setdefault(("global", ""), Section("global", "", line)).put(parts[1], value, line)
        elif len(parts) < 4:
            result.note(
                line, f"label {label} of {where} is not imported: its name is not ofelia.KIND.NAME.PARAMETER"
            )
        else:
            kind, name, parameter = parts[1], ".".join(parts[2:-1]), parts[-1]
            found.setdefault((kind, name), Section(kind, name, line)).put(parameter, value, line)
    return list(found.values())
