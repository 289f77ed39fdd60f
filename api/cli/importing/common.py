"""Shared by several formats: images, sizes, variables, mounts, durations, time zones. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any, Final

from api.cli.importing.result import Imported
from scheduler.domain.errors import ScheduleError
from scheduler.domain.job import STANDARD_SIZES
from scheduler.timing.schedule import parse_schedule

_UNITS: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_MEMORY: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([kmgt]?)i?b?", re.ASCII | re.IGNORECASE)
_QUANTITY: Final = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|[MGTP]|[KMGTP]i|[eE][0-9]{1,2})?", re.ASCII
)
_FACTORS: Final = {
    "": 1.0, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_SIMPLE: Final = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def image_fields(image: str) -> dict[str, Any]:
    """The repository, tag and digest of an image name."""
    name, at, digest = image.partition("@")
    found: dict[str, Any] = {}
    repository, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        found = {"docker_image_repo": repository, "docker_image_tag": tag}
    else:
        found = {"docker_image_repo": name}
    if at:
        found["docker_image_digest"] = digest
    return found


def base_name(image: str) -> str:
    """A name for a job that has only an image."""
    return image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0] or "job"


def command_of(words: list[str]) -> str | list[str]:
    """A command as a line if its words are simple, or as a list of words."""
    if words and all(_SIMPLE.fullmatch(word) for word in words):
        return " ".join(words)
    return words


def is_splittable(command: str) -> bool:
    """Whether a command can be split into words."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def memory_bytes(text: str) -> int | None:
    """Bytes as Docker writes them: `512m`, `1g`, `1073741824`."""
    match = _MEMORY.fullmatch(text.strip())
    return None if match is None else round(float(match[1]) * _UNITS[match[2].lower()])


def quantity(text: str) -> float | None:
    """A number as Kubernetes writes it: `100m`, `0.5`, `128Mi`, `1G`, `1e3`."""
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        return None
    unit = match[2] or ""
    return float(match[1]) * (10.0 ** int(unit[1:]) if unit[:1] in {"e", "E"} else _FACTORS[unit])


def set_size(
    result: Imported, line: int | None, fields: dict[str, Any], *, cpus: float | None, memory: float | None
) -> None:
    """Choose the smallest size that is large enough, and add a note if it does not match exactly.

    Args:
        result: the result that gets the note.
        line: the line in the file.
        fields: the job's fields, in which `resource_size` is set.
        cpus: the number of CPUs; None if the file does not set it.
        memory: the memory in bytes; None if the file does not set it.
    """
    if not cpus and not memory:
        result.has_unsized = True
        return
    name, size = next(
        (
            (name, size)
            for name, size in STANDARD_SIZES.items()
            if size.cpus >= (cpus or 0) and size.memory_bytes >= (memory or 0)
        ),
        list(STANDARD_SIZES.items())[-1],
    )
    fields["resource_size"] = name
    wanted = [f"{cpus:g} CPU" if cpus else "", f"{(memory or 0) / 1024**2:g} MiB" if memory else ""]
    asked = " and ".join(part for part in wanted if part)
    fits = size.cpus >= (cpus or 0) and size.memory_bytes >= (memory or 0)
    if not fits:
        result.note(
            line,
            f"requests {asked}, more than the largest size; it gets {name} ({size.cpus:g} CPU, {size.memory_mib} "
            "MiB); ask an administrator to define a larger size",
        )
    elif (cpus and cpus != size.cpus) or (memory and memory != size.memory_bytes):
        result.note(
            line,
            f"requests {asked}; it gets {name} ({size.cpus:g} CPU, {size.memory_mib} MiB), the smallest size that "
            "is large enough",
        )


def set_variables(result: Imported, line: int | None, fields: dict[str, Any], given: Iterable[str]) -> None:
    """Add variables written as NAME=VALUE. A name without a value took it from the caller's environment."""
    variables: dict[str, Any] = fields.setdefault("runtime_vars", {})
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            result.note(
                line,
                f"variable {name} takes its value from the caller's environment, which is not imported; "
                f"set runtime_vars.{name}",
            )
        else:
            variables[name] = value
    if not variables:
        del fields["runtime_vars"]


def add_volume(result: Imported, line: int | None, fields: dict[str, Any], text: str) -> None:
    """Add a mount written as SOURCE:TARGET[:OPTIONS]."""
    source, colon, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not colon or not source.startswith("/"):
        what = "an anonymous volume" if not colon else f"the named volume '{source}'"
        result.note(line, f"volume {text} is {what}, which is not imported; mount a directory of the host")
        return
    words = set(options.split(",")) - {"", "rw", "ro"}
    if words:
        result.note(line, f"volume {text}: the options {', '.join(sorted(words))} are not imported")
    add_mount(result, line, fields, source, target, read_only="ro" in options.split(","))


def add_mount(
    result: Imported, line: int | None, fields: dict[str, Any], source: str, target: str, *, read_only: bool
) -> None:
    """Add a directory of the host, with a note that the container policy must allow it."""
    fields.setdefault("mounts", []).append({"source": source, "target": target, "read_only": read_only})
    result.note(
        line, f"mount {source} is imported; the container policy must allow it (policy.allowed_mounts)"
    )


def set_network(result: Imported, line: int | None, fields: dict[str, Any], name: str) -> None:
    """Set the network, unless it is that of the host or another container, which jobs cannot share."""
    if name in {"bridge", "default"}:
        return
    if name == "host" or name.startswith(("container:", "service:", "ns:")):
        result.note(
            line,
            f"network {name} is not imported: a job cannot share the network of the host or of another container",
        )
        return
    fields["network"] = name


def set_capabilities(
    result: Imported, line: int | None, fields: dict[str, Any], names: Iterable[str]
) -> None:
    """Add Linux capabilities, except ALL."""
    for name in names:
        if name.upper() == "ALL":
            result.note(line, "capability ALL is not imported; list the capabilities that the job needs")
        else:
            fields.setdefault("capabilities", []).append(name)


def schedule_error(text: str, zone: str | None = None) -> str | None:
    """Why a schedule is invalid; None if it is valid."""
    try:
        parse_schedule(text, zone)
    except ScheduleError as error:
        return f"{error.message}; {error.remedy}"
    return None


def is_digest(text: str) -> bool:
    """Whether a text is an image digest."""
    return _DIGEST.fullmatch(text) is not None
