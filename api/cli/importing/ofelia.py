"""Ofelia's jobs, wherever they are written: INI files, labels in a Compose file, or labels of containers. Pure.

Kinds of job, parameters and defaults are those of its documentation (README, docs/jobs.md).
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
    "job-exec": "it runs in a container that is there already; give the command a job with that container's image",
    "job-local": "it runs on the machine itself, and jobs are containers; put the command into an image",
    "job-compose": "it runs a Compose service; make a job of the service's image and command",
}
_TOLD: Final = "make a hook (timeball hook), or set email_enabled for mail to the job's owner when runs fail"
_HINTS: Final = {
    "save-folder": "what runs print is kept in their logs",
    "save-only-on-error": "what runs print is kept in their logs",
    "hostname": "containers have a name of their own",
    "volumes-from": "mount directories of the host",
    "container": "a job starts a container of its own",
    "dir": "the image's working directory is used",
    "delete": "the containers of runs that have ended are removed",
    "tty": "runs have no terminal",
}


@dataclass(slots=True)
class Section:
    """One job as it is written, whatever it is written in.

    Attributes:
        kind: one of `KINDS`, or `global`.
        values: all values of each parameter, whose names are in small letters.
        lines: where each parameter stands.
    """

    kind: str
    name: str
    line: int | None
    values: dict[str, list[str]] = field(default_factory=dict)
    lines: dict[str, int | None] = field(default_factory=dict)

    def put(self, name: str, value: str, line: int | None) -> None:
        """One more value of a parameter."""
        self.values.setdefault(name.lower(), []).append(value)
        self.lines.setdefault(name.lower(), line)

    def take(self, name: str) -> str | None:
        """The last value of a parameter, which is the one that counts."""
        values = self.values.pop(name, None)
        return values[-1] if values else None


def take_sections(sections: Sequence[Section], result: Imported) -> None:
    """Make jobs of sections."""
    for section in sections:
        if section.kind == "global":
            for name in section.values:
                result.note(section.lines[name], f"{name} is not carried over: {_hint(name)}")
        elif section.kind in _ELSEWHERE:
            what = f"{section.kind} '{section.name}'"
            result.lose(section.line, f"{what} is not carried over: {_ELSEWHERE[section.kind]}")
        elif section.kind in KINDS:
            _take(section, result)
        else:
            result.lose(
                section.line, f"{section.kind} '{section.name}' is not carried over: Ofelia has no such kind"
            )


def _take(section: Section, result: Imported) -> None:
    what = f"{section.kind} '{section.name}'"
    image = section.take("image")
    if not image:
        why = (
            "it starts a container that is there already; name its image"
            if "container" in section.values
            else "it has no image"
        )
        result.lose(section.line, f"{what} is not carried over: {why}")
        return
    schedule_line = section.lines.get("schedule", section.line)
    found = translate(section.take("schedule") or "", seconds=True)
    if found.schedule is None:
        result.lose(schedule_line, f"{what} is not carried over: {'; '.join(found.notes)}")
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
            section.line, f"{what} is a service of a swarm there, and a container of the region's engine here"
        )
    for name in section.values:
        if (name, section.values[name][-1].strip().lower()) not in {("delete", "true"), ("tty", "false")}:
            result.note(section.lines[name], f"{what}: {name} is not carried over: {_hint(name)}")
    result.add(section.line, fields)


def _take_container(section: Section, fields: dict[str, Any], result: Imported, what: str) -> None:
    command_line = section.lines.get("command", section.line)
    if command := section.take("command"):
        if is_splittable(command):
            fields["command"] = command
        else:
            result.note(
                command_line, f"{what}: command has a quotation that is not closed, and is not carried over"
            )
    if user := section.take("user"):
        fields["user"] = user
    else:
        result.note_once(
            "Ofelia runs as root what names no user; here it runs as the image says, or give user: root",
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
            "images are pulled before every run (pull_policy: always), which fails where no registry has them, while "
            "Ofelia goes on with what it has: use if_not_present for those",
        )


def _list(values: Sequence[str]) -> list[str]:
    """Values given one by one, or as a JSON array, as in labels."""
    found: list[str] = []
    for value in values:
        if value.lstrip().startswith("["):
            try:
                found += [str(one) for one in json.loads(value)]
                continue
            except ValueError:
                pass
        found.append(value)
    return found


def _is_true(text: str | None) -> bool:
    return text is not None and text.strip().lower() in {"1", "t", "true", "yes", "on", ""}


def _hint(name: str) -> str:
    if name.startswith(("slack-", "smtp-", "email-", "mail-")):
        return _TOLD
    return _HINTS.get(name, "there is nothing like it")


def label_sections(
    labels: Mapping[str, tuple[str, int | None]], where: str, result: Imported
) -> list[Section]:
    """What labels of one container define: `ofelia.KIND.NAME.PARAMETER`.

    Args:
        labels: each label's value and line.
        where: the container's name.
        result: where notes go.
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
                line, f"label {label} of {where} is not carried over: it is not ofelia.KIND.NAME.PARAMETER"
            )
        else:
            kind, name, parameter = parts[1], ".".join(parts[2:-1]), parts[-1]
            found.setdefault((kind, name), Section(kind, name, line)).put(parameter, value, line)
    return list(found.values())
