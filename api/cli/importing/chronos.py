"""Reads Chronos' jobs: the JSON that its API takes and answers, one job or a list of them. Pure.

The meaning of fields and their defaults are those of its manual (REST API, Job Configuration).
"""

from __future__ import annotations

import re
from typing import Any, Final

from api.cli.declaring.documents import Node
from api.cli.importing.common import (
    add_mount,
    image_fields,
    schedule_error,
    set_network,
    set_size,
    set_variables,
)
from api.cli.importing.docker_run import add_options
from api.cli.importing.result import Imported, Part
from scheduler.domain.errors import ScheduleError
from scheduler.timing.iso8601_duration import read_duration
from scheduler.timing.schedule import TimezoneError, check_timezone

#: What says how a job has fared, and not what it is.
_HISTORY: Final = (
    "successCount", "errorCount", "lastSuccess", "lastError", "errorsSinceLastSuccess", "lastHost",
)  # fmt: skip
_SCHEDULE: Final = re.compile(r"(R[0-9]*)/([^/]*)/(P.*)", re.ASCII)
_OFFSET: Final = re.compile(r"(T[0-9:.,]*?)(Z|[+-][0-9]{2}:?[0-9]{2})$", re.ASCII)
#: Java's short names that are no names of zones elsewhere (java.time.ZoneId.SHORT_IDS).
_SHORT: Final = {
    "ACT": "Australia/Darwin", "AET": "Australia/Sydney", "AGT": "America/Argentina/Buenos_Aires",
    "ART": "Africa/Cairo", "AST": "America/Anchorage", "BET": "America/Sao_Paulo", "BST": "Asia/Dhaka",
    "CAT": "Africa/Harare", "CNT": "America/St_Johns", "CST": "America/Chicago", "CTT": "Asia/Shanghai",
    "EAT": "Africa/Addis_Ababa", "ECT": "Europe/Paris", "IET": "America/Indiana/Indianapolis",
    "IST": "Asia/Kolkata", "JST": "Asia/Tokyo", "MIT": "Pacific/Apia", "NET": "Asia/Yerevan",
    "NST": "Pacific/Auckland", "PLT": "Asia/Karachi", "PNT": "America/Phoenix", "PRT": "America/Puerto_Rico",
    "PST": "America/Los_Angeles", "SST": "Pacific/Guadalcanal", "VST": "Asia/Ho_Chi_Minh",
}  # fmt: skip
_HINTS: Final = {
    "owner": "set email_enabled for mail to the job's owner when runs fail, or make a hook",
    "ownerName": "created_by is who imports the job",
    "description": "jobs have labels instead",
    "disk": "sizes say nothing of disks",
    "constraints": "region_name says on which engine jobs run",
    "uris": "put the files into the image, or mount them",
    "fetch": "put the files into the image, or mount them",
    "runAsUser": "that is the user of the Mesos executor; name the container's as user",
    "softError": "every failure counts",
    "highPriority": "set priority",
    "taskInfoData": "there is nothing like it",
}


def read_chronos(documents: list[Node]) -> Imported:
    """The jobs of a file.

    Args:
        documents: each a job or a list of jobs.
    """
    result = Imported()
    for document in documents:
        for node in document.value if isinstance(document.value, list) else [document]:
            _read_job(Part(node, "", result), result)
    return result


def _read_job(job: Part, result: Imported) -> None:
    name = job.text("name") or "job"
    job.path = name
    fields: dict[str, Any] = {"name": name}
    if any(history in job for history in _HISTORY):
        result.note_once(
            "what says how jobs have fared (successCount, lastError and the like) is not carried over"
        )
    job.set_aside(_HISTORY)
    if not _take_container(job, fields, result):
        return
    _take_command(job, fields)
    if not _take_schedule(job, fields, result):
        return
    set_variables(result, job.line, fields, _variables(job))
    cpus, memory = job.number("cpus"), job.number("mem")
    set_size(
        result,
        job.line_of("mem" if "mem" in job else "cpus"),
        fields,
        cpus=cpus or 0.1,
        memory=(memory or 128) * 1024**2,
    )
    retries = job.whole("retries", 0, 100)
    fields["max_retries"] = 2 if retries is None else retries
    fields["concurrency_policy"] = "allow" if job.flag("concurrent") else "forbid"
    if job.number("maxCompletionTime"):
        fields["timeout_seconds"] = job.whole("maxCompletionTime", 1, 366 * 24 * 3600)
    _take_epsilon(job, fields)
    job.close(_HINTS)
    result.add(job.line, fields)


def _variables(job: Part) -> list[str]:
    found = []
    for one in job.parts("environmentVariables"):
        found.append(f"{one.text('name', '')}={one.text('value', '')}")
        one.close()
    return found


def _take_command(job: Part, fields: dict[str, Any]) -> None:
    """A shell's line, or a program with its arguments."""
    command, arguments = job.text("command", "") or "", job.texts("arguments")
    if not job.flag("shell", default=True):
        if words := [word for word in (command, *arguments) if word]:
            fields["command"] = words
        return
    if command:
        fields["command"] = ["/bin/sh", "-c", command]
        job.note(
            "command", "is a line of shell: should the image have an entrypoint of its own, it gets that line"
        )
    if arguments:
        job.note("arguments", "is not carried over: Chronos ignores it where shell is true")


def _take_container(job: Part, fields: dict[str, Any], result: Imported) -> bool:
    """The image and what surrounds it; False if the job has none and is left out."""
    container = job.part("container")
    image = container.text("image")
    if not image:
        why = "it has no container.image, and jobs are containers: give it an image"
        result.lose(job.line, f"{job.path} is not carried over: {why}")
        return False
    fields |= image_fields(image)
    if (kind := container.text("type", "DOCKER")) and kind.upper() not in {"DOCKER", "MESOS"}:
        container.note("type", f"{kind} is unknown, and counts as DOCKER")
    if container.flag("forcePullImage"):
        fields["pull_policy"] = "always"
    _take_networks(container, fields, result)
    _take_volumes(container, fields, result)
    pairs = []
    for one in container.parts("parameters"):
        pairs.append((one.text("key", "") or "", one.text("value", "") or ""))
        one.close()
    add_options(fields, pairs, result, container.line_of("parameters"))
    container.close()
    return True


def _take_networks(container: Part, fields: dict[str, Any], result: Imported) -> None:
    network, name = container.text("network"), container.text("networkName")
    if network is None and name is None and "networkInfos" not in container:
        default = "the host's in Chronos; here it is the container policy's default"
        result.note(container.line, f"{container.path} names no network, which is {default}")
    elif network is not None and network.upper() == "USER" and name:
        set_network(result, container.line, fields, name)
    elif network is not None:
        set_network(result, container.line_of("network"), fields, network.lower())
    for info in container.parts("networkInfos"):
        if "network" in fields:
            info.note("", "is not carried over: a job has one network")
        elif info_name := info.text("name"):
            set_network(result, info.line, fields, info_name)
            info.close()


def _take_volumes(container: Part, fields: dict[str, Any], result: Imported) -> None:
    for volume in container.parts("volumes"):
        source, target = volume.text("hostPath"), volume.text("containerPath", "")
        mode = volume.text("mode", "RW")
        if source is None or not source.startswith("/"):
            volume.set_aside(("external",))
            volume.note("", "is no directory of the host and is not carried over")
        else:
            add_mount(
                result, volume.line, fields, source, target or "", read_only=(mode or "").upper() == "RO"
            )
        volume.close()


def _take_schedule(job: Part, fields: dict[str, Any], result: Imported) -> bool:
    """When it runs; False if that cannot be said and the job is left out."""
    parents = job.texts("parents")
    zone = _zone(job)
    text = job.text("schedule")
    is_disabled = job.flag("disabled")
    if text is None:
        if parents:
            remedy = "start it by a hook, or give it a schedule"
            job.note(
                "parents", f"is not carried over: nothing starts it after {', '.join(parents)}; {remedy}"
            )
        else:
            job.note("", "has no schedule: it runs only by hand")
        return True
    match = _SCHEDULE.fullmatch(text.strip())
    if match is not None:
        repeat, start, duration = match.groups()
        if zone is not None:
            start = _OFFSET.sub(r"\1", start)  # scheduleTimeZone goes before what the schedule says
        if repeat not in {"R", "R0"} and start:
            job.note("schedule", f"counts its {repeat[1:]} runs from its start, those of the past included")
        text = f"{repeat}/{start}/{duration}"
    if (error := schedule_error(text, zone)) is not None:
        result.lose(
            job.line_of("schedule"), f"{job.path} is not carried over: the schedule {text!r}: {error}"
        )
        return False
    fields |= {"schedule_mode": text, "is_schedule_active": not is_disabled}
    if zone is not None:
        fields["schedule_timezone"] = zone
    return True


def _zone(job: Part) -> str | None:
    zone = job.text("scheduleTimeZone")
    if not zone:
        return None
    if zone in _SHORT:
        job.note("scheduleTimeZone", f"{zone} is Java's short name of {_SHORT[zone]}")
        return _SHORT[zone]
    try:
        check_timezone(zone)
    except TimezoneError as error:
        job.note(
            "scheduleTimeZone", f"is not carried over, the schedule's own offset counts: {error.message}"
        )
        return None
    return zone


def _take_epsilon(job: Part, fields: dict[str, Any]) -> None:
    """How late a run may be; what is later than that does not run."""
    text = job.text("epsilon")
    if not text:
        return
    seconds = _seconds(text)
    if seconds is None:
        job.note("epsilon", f"{text!r} is no length of time in days or less, and is not carried over")
    else:
        fields |= {"misfire_policy": "skip", "misfire_grace_seconds": min(seconds, 366 * 24 * 3600)}


def _seconds(text: str) -> int | None:
    """Whole seconds of an ISO 8601 duration without months; a day has 24 hours."""
    try:
        step = read_duration(text, 0, text)
    except ScheduleError:
        return None
    return None if step.months else (step.wall + step.elapsed) // 1_000_000
