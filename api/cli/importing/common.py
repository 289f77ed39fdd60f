"""What several formats share: images, sizes, variables, mounts, durations, zones. Pure."""

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
    """Repository, tag and digest of an image's name."""
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
    """What a job is called that has nothing but an image."""
    return image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0] or "job"


def command_of(words: list[str]) -> str | list[str]:
    """A command as one would write it: a line if its words are simple, else the list of them."""
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
    """Choose the smallest size that has at least so much; a note says which, where it is not exactly that.

    Args:
        result: where the note goes.
        line: of the file.
        fields: of the job, whose `resource_size` is set.
        cpus: processors; None if the file says nothing.
        memory: bytes; likewise.
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
            f"asks for {asked}, more than the largest size: it gets {name} ({size.cpus:g} CPU, {size.memory_mib} "
            "MiB); have the operator define a larger one",
        )
    elif (cpus and cpus != size.cpus) or (memory and memory != size.memory_bytes):
        result.note(
            line,
            f"asks for {asked}: it gets {name} ({size.cpus:g} CPU, {size.memory_mib} MiB), the smallest size that "
            "has as much",
        )


def set_variables(result: Imported, line: int | None, fields: dict[str, Any], given: Iterable[str]) -> None:
    """Variables written as NAME=VALUE; a name alone took its value from where the command ran."""
    variables: dict[str, Any] = fields.setdefault("runtime_vars", {})
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            result.note(
                line,
                f"variable {name} had its value from the environment of the caller, which is not carried over: "
                f"write it as runtime_vars.{name}",
            )
        else:
            variables[name] = value
    if not variables:
        del fields["runtime_vars"]


def add_volume(result: Imported, line: int | None, fields: dict[str, Any], text: str) -> None:
    """A mount written as SOURCE:TARGET[:OPTIONS]."""
    source, colon, rest = text.partition(":")
    target, _, options = rest.partition(":")
    if not colon or not source.startswith("/"):
        what = "an anonymous volume" if not colon else f"the named volume '{source}'"
        result.note(
            line, f"volume {text} is {what}, which is not carried over: mount a directory of the host"
        )
        return
    words = set(options.split(",")) - {"", "rw", "ro"}
    if words:
        result.note(line, f"volume {text}: its options {', '.join(sorted(words))} are not carried over")
    add_mount(result, line, fields, source, target, read_only="ro" in options.split(","))


def add_mount(
    result: Imported, line: int | None, fields: dict[str, Any], source: str, target: str, *, read_only: bool
) -> None:
    """A directory of the host, with a note that the operator has to allow it."""
    fields.setdefault("mounts", []).append({"source": source, "target": target, "read_only": read_only})
    result.note(
        line, f"mount {source} is carried over; the container policy has to allow it (allowed_mounts)"
    )


def set_network(result: Imported, line: int | None, fields: dict[str, Any], name: str) -> None:
    """A network, unless it is the host's or another container's, which no job can have."""
    if name in {"bridge", "default"}:
        return
    if name == "host" or name.startswith(("container:", "service:", "ns:")):
        result.note(
            line,
            f"network {name} is not carried over: no job can share the network of the host or of another container",
        )
        return
    fields["network"] = name


def set_capabilities(
    result: Imported, line: int | None, fields: dict[str, Any], names: Iterable[str]
) -> None:
    """Linux capabilities; ALL stands for too much."""
    for name in names:
        if name.upper() == "ALL":
            result.note(
                line, "capability ALL is not carried over: name those that the job needs as capabilities"
            )
        else:
            fields.setdefault("capabilities", []).append(name)


def schedule_error(text: str, zone: str | None = None) -> str | None:
    """Why a schedule cannot be carried over; None if it can."""
    try:
        parse_schedule(text, zone)
    except ScheduleError as error:
        return f"{error.message}; {error.remedy}"
    return None


def is_digest(text: str) -> bool:
    """Whether a text is an image's digest."""
    return _DIGEST.fullmatch(text) is not None
