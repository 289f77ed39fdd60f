"""Reads Chronos jobs: the JSON of its API, a single job or a list. Pure.

Fields and their defaults are as in its manual (REST API, Job Configuration).
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

#: Fields with the history of a job.
_HISTORY: Final = (
    "successCount", "errorCount", "lastSuccess", "lastError", "errorsSinceLastSuccess", "lastHost",
)  # fmt: skip
_SCHEDULE: Final = re.compile(r"(R[0-9]*)/([^/]*)/(P.*)", re.ASCII)
_OFFSET: Final = re.compile(r"(T[0-9:.,]*?)(Z|[+-][0-9]{2}:?[0-9]{2})$", re.ASCII)
#: Java's short zone names, which are not IANA names (java.time.ZoneId.SHORT_IDS).
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
    "owner": "set email_enabled to notify the job's owner by email when runs fail, or create a webhook",
    "ownerName": "created_by is the user who imports the job",
    "description": "use labels instead",
    "disk": "resource sizes do not limit disks",
    "constraints": "set region_name to choose the engine",
    "uris": "add the files to the image, or mount them",
    "fetch": "add the files to the image, or mount them",
    "runAsUser": "it is the user of the Mesos executor; set user for the container's user",
    "softError": "every failure counts",
    "highPriority": "set priority",
    "taskInfoData": "there is no equivalent",
}


def read_chronos(documents: list[Node]) -> Imported:
    """The jobs in a file.

    Args:
        documents: the documents, each a job or a list of jobs.
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
        result.note_once("the history of jobs (successCount, lastError and so on) is not imported")
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
    for variable in job.parts("environmentVariables"):
        found.append(f"{variable.text('name', '')}={variable.text('value', '')}")
        variable.close()
    return found


def _take_command(job: Part, fields: dict[str, Any]) -> None:
    """Set the command: a shell command line, or a program with its arguments."""
    command, arguments = job.text("command", "") or "", job.texts("arguments")
    if not job.flag("shell", default=True):
        if words := [word for word in (command, *arguments) if word]:
            fields["command"] = words
        return
    if command:
        fields["command"] = ["/bin/sh", "-c", command]
        job.note(
            "command",
            "is run with /bin/sh -c; if the image has an entrypoint, the entrypoint gets these words",
        )
    if arguments:
        job.note("arguments", "is not imported: Chronos ignores it if shell is true")


def _take_container(job: Part, fields: dict[str, Any], result: Imported) -> bool:
    """Set the image and the container's options; False if the job has no image and is skipped."""
    container = job.part("container")
    image = container.text("image")
    if not image:
        why = "it has no container.image; every job runs in a container, so add an image"
        result.lose(job.line, f"{job.path} is not imported: {why}")
        return False
    fields |= image_fields(image)
    if (kind := container.text("type", "DOCKER")) and kind.upper() not in {"DOCKER", "MESOS"}:
        container.note("type", f"{kind} is unknown and is treated as DOCKER")
    if container.flag("forcePullImage"):
        fields["pull_policy"] = "always"
    _take_networks(container, fields, result)
    _take_volumes(container, fields, result)
    pairs = []
    for parameter in container.parts("parameters"):
        pairs.append((parameter.text("key", "") or "", parameter.text("value", "") or ""))
        parameter.close()
    add_options(fields, pairs, result, container.line_of("parameters"))
    container.close()
    return True


def _take_networks(container: Part, fields: dict[str, Any], result: Imported) -> None:
    network, name = container.text("network"), container.text("networkName")
    if network is None and name is None and "networkInfos" not in container:
        default = "Chronos uses the host's network then, and Timeball the default of the container policy"
        result.note(container.line, f"{container.path} does not name a network; {default}")
    elif network is not None and network.upper() == "USER" and name:
        set_network(result, container.line, fields, name)
    elif network is not None:
        set_network(result, container.line_of("network"), fields, network.lower())
    for info in container.parts("networkInfos"):
        if "network" in fields:
            info.note("", "is not imported: a job has only one network")
        elif info_name := info.text("name"):
            set_network(result, info.line, fields, info_name)
            info.close()


def _take_volumes(container: Part, fields: dict[str, Any], result: Imported) -> None:
    for volume in container.parts("volumes"):
        source, target = volume.text("hostPath"), volume.text("containerPath", "")
        mode = volume.text("mode", "RW")
        if source is None or not source.startswith("/"):
            volume.set_aside(("external",))
            volume.note("", "is not a directory of the host and is not imported")
        else:
            add_mount(
                result, volume.line, fields, source, target or "", read_only=(mode or "").upper() == "RO"
            )
        volume.close()


def _take_schedule(job: Part, fields: dict[str, Any], result: Imported) -> bool:
    """Set the schedule; False if it cannot be imported and the job is skipped."""
    parents = job.texts("parents")
    zone = _zone(job)
    text = job.text("schedule")
    is_disabled = job.flag("disabled")
    if text is None:
        if parents:
            remedy = "start it from a webhook, or set a schedule"
            job.note(
                "parents", f"is not imported: the job is not started after {', '.join(parents)}; {remedy}"
            )
        else:
            job.note("", "has no schedule; it runs only when started manually")
        return True
    match = _SCHEDULE.fullmatch(text.strip())
    if match is not None:
        repeat, start, duration = match.groups()
        if zone is not None:
            start = _OFFSET.sub(r"\1", start)  # scheduleTimeZone takes precedence over the schedule's offset
        if repeat not in {"R", "R0"} and start:
            job.note("schedule", f"counts its {repeat[1:]} runs from its start, including past ones")
        text = f"{repeat}/{start}/{duration}"
    if (error := schedule_error(text, zone)) is not None:
        result.lose(
            job.line_of("schedule"), f"{job.path} is not imported: the schedule {text!r} is invalid: {error}"
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
        job.note("scheduleTimeZone", f"{zone} is Java's short name for {_SHORT[zone]}")
        return _SHORT[zone]
    try:
        check_timezone(zone)
    except TimezoneError as error:
        job.note("scheduleTimeZone", f"is not imported, and the schedule's offset is used: {error.message}")
        return None
    return zone


def _take_epsilon(job: Part, fields: dict[str, Any]) -> None:
    """Set how late a run may start. Later runs are skipped."""
    text = job.text("epsilon")
    if not text:
        return
    seconds = _seconds(text)
    if seconds is None:
        job.note("epsilon", f"{text!r} is not a duration in days or smaller units and is not imported")
    else:
        fields |= {"misfire_policy": "skip", "misfire_grace_seconds": min(seconds, 366 * 24 * 3600)}


def _seconds(text: str) -> int | None:
    """The whole seconds of an ISO 8601 duration without months. A day has 24 hours."""
    try:
        step = read_duration(text, 0, text)
    except ScheduleError:
        return None
    return None if step.months else (step.wall + step.elapsed) // 1_000_000
