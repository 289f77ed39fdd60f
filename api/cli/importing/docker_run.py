"""Converts the options of `docker run` to fields of a job. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from api.cli.importing.common import (
    add_mount,
    add_volume,
    base_name,
    command_of,
    image_fields,
    memory_bytes,
    set_capabilities,
    set_network,
    set_size,
    set_variables,
)
from api.cli.importing.result import Imported

#: Short options without a value.
_FLAG_LETTERS: Final = {"d": "detach", "i": "interactive", "t": "tty", "P": "publish-all", "q": "quiet"}
_FLAGS: Final = {
    "detach", "interactive", "tty", "rm", "init", "privileged", "publish-all", "read-only", "no-healthcheck",
    "oom-kill-disable", "disable-content-trust", "sig-proxy", "quiet", "help", "use-api-socket",
}  # fmt: skip
_LETTERS: Final = {
    "a": "attach", "c": "cpu-shares", "e": "env", "h": "hostname", "l": "label", "m": "memory", "p": "publish",
    "u": "user", "v": "volume", "w": "workdir",
}  # fmt: skip
_SAME: Final = {"net": "network", "dns-opt": "dns-option", "net-alias": "network-alias"}
#: Options that are always in effect: runs are watched to their end, and then their containers are removed.
_ANYWAY: Final = {"rm", "detach", "quiet", "sig-proxy", "attach", "disable-content-trust"}
_PULL: Final = {"always": "always", "missing": "if_not_present", "never": "never"}
_HINTS: Final = {
    "env-file": "the contents of the file are unknown; set the variables in runtime_vars, or use secrets",
    "interactive": "runs have no standard input",
    "tty": "runs have no terminal, and stdout and stderr are separate",
    "privileged": "jobs cannot be privileged; list the capabilities that the job needs",
    "entrypoint": "the image's entrypoint is used; if the image has none, add the words to command",
    "workdir": "the image's working directory is used; start the command with sh -c 'cd … && …'",
    "restart": "set max_retries to retry failed runs",
    "log-driver": "Timeball stores the output of runs",
    "log-opt": "Timeball stores the output of runs",
    "publish": "ports cannot be published",
    "publish-all": "ports cannot be published",
    "gpus": "GPUs are not supported",
    "cpu-shares": "set resource_size",
    "memory-swap": "resource sizes have no swap",
    "secret": "set it with 'timeball secret set', and refer to it in runtime_vars",
}


class OptionsError(Exception):
    """The words are not a valid `docker run` command."""


@dataclass(slots=True)
class _Options:
    """The options read so far.

    Attributes:
        line: the line in the file, for notes.
        environment: the environment of the docker command, from which `-e NAME` takes values.
    """

    result: Imported
    line: int | None
    fields: dict[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    variables: list[str] = field(default_factory=list)
    cpus: float | None = None
    memory: float | None = None

    def note(self, text: str) -> None:
        self.result.note(self.line, text)


def read_docker_run(
    words: Sequence[str], result: Imported, line: int | None, environment: Mapping[str, str]
) -> dict[str, Any]:
    """The fields of the job that `docker run` with these words describes.

    Args:
        words: the words after `run`.
        result: the result that gets the notes.
        line: the line in the file.
        environment: the environment of the docker command, as far as it is known.

    Raises:
        OptionsError: there is no image, or an option has no value.
    """
    options = _Options(result, line, environment=environment)
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        for name, value in _named(word, rest):
            take_option(options, name, value)
    if not rest or not rest[0]:
        raise OptionsError("docker run without an image")
    image, *command = rest
    fields = {"name": base_name(image), **image_fields(image), **options.fields}
    if command:
        fields["command"] = command_of(command)
    set_variables(result, line, fields, options.variables)
    set_size(result, line, fields, cpus=options.cpus, memory=options.memory)
    return fields


def add_options(
    fields: dict[str, Any], pairs: Iterable[tuple[str, str]], result: Imported, line: int | None
) -> None:
    """Add options given by name and value, as in Chronos, to a job's fields."""
    options = _Options(result, line, fields)
    for name, value in pairs:
        take_option(options, _SAME.get(name, name), value)
    if options.variables:
        set_variables(result, line, fields, options.variables)
    if options.cpus or options.memory:
        set_size(result, line, fields, cpus=options.cpus, memory=options.memory)


def take_option(options: _Options, name: str, value: str) -> None:
    """Read an option by its long name. The value of a flag is `true` or `false`."""
    if name in _FLAGS and value.lower() in {"false", "0", "f"}:
        return
    if name in _ANYWAY:
        return
    if (found := _TAKEN.get(name)) is not None:
        found(options, value)
        return
    shown = f"--{name}" if name in _FLAGS else f"--{name} {value}"
    hint = _HINTS.get(name)
    options.note(f"{shown} is not imported{f': {hint}' if hint else ''}")


def _named(word: str, rest: list[str]) -> list[tuple[str, str]]:
    """The options in a word by their long names, with their values, which may be the next word."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        name = _SAME.get(name, name)
        if name in _FLAGS:
            return [(name, value if equals else "true")]
        return [(name, value if equals else _value(rest, f"--{name}"))]
    found: list[tuple[str, str]] = []
    letters = word[1:]
    for place, letter in enumerate(letters):
        if letter in _FLAG_LETTERS:
            found.append((_FLAG_LETTERS[letter], "true"))
            continue
        if letter not in _LETTERS:
            raise OptionsError(f"docker run has no option -{letter}")
        value = letters[place + 1 :].removeprefix("=")
        found.append((_LETTERS[letter], value or _value(rest, f"-{letter}")))
        break
    return found


def _value(rest: list[str], option: str) -> str:
    if not rest:
        raise OptionsError(f"docker run {option} has no value")
    return rest.pop(0)


def _set(name: str) -> Callable[[_Options, str], None]:
    def take(options: _Options, value: str) -> None:
        options.fields[name] = value

    return take


def _env(options: _Options, value: str) -> None:
    known = options.environment.get(value)
    options.variables.append(value if known is None else f"{value}={known}")


def _memory(options: _Options, value: str) -> None:
    options.memory = memory_bytes(value)
    if options.memory is None:
        options.note(f"--memory {value} is not a size and is not imported")


def _cpus(options: _Options, value: str) -> None:
    try:
        options.cpus = float(value)
    except ValueError:
        options.note(f"--cpus {value} is not a number and is not imported")


def _pull(options: _Options, value: str) -> None:
    if value in _PULL:
        options.fields["pull_policy"] = _PULL[value]
    else:
        options.note(f"--pull {value} is not imported: set pull_policy to always, if_not_present or never")


def _grace(options: _Options, value: str) -> None:
    if value.isascii() and value.isdecimal() and int(value[:9]) <= 3600:
        options.fields["stop_grace_seconds"] = int(value)
    else:
        options.note(
            f"--stop-timeout {value} is not imported: set stop_grace_seconds to a value from 0 to 3600"
        )


def _label(options: _Options, value: str) -> None:
    name, _, text = value.partition("=")
    options.fields.setdefault("labels", {})[name] = text


def _read_only(options: _Options, _value: str) -> None:
    options.fields["read_only_root"] = True


def _mount(options: _Options, value: str) -> None:
    parts = dict(part.partition("=")[::2] for part in value.split(","))
    source = parts.get("source") or parts.get("src", "")
    target = parts.get("target") or parts.get("destination") or parts.get("dst", "")
    if parts.get("type", "volume") != "bind" or not source.startswith("/"):
        options.note(f"--mount {value} is not imported: mount a directory of the host (type=bind)")
        return
    flag = next((parts[name] for name in ("readonly", "ro") if name in parts), "false")
    add_mount(
        options.result,
        options.line,
        options.fields,
        source,
        target,
        read_only=flag.lower() in {"", "1", "true"},
    )


_TAKEN: Final[dict[str, Callable[[_Options, str], None]]] = {
    "name": _set("name"),
    "user": _set("user"),
    "read-only": _read_only,
    "memory": _memory,
    "cpus": _cpus,
    "pull": _pull,
    "stop-timeout": _grace,
    "label": _label,
    "mount": _mount,
    "env": _env,
    "volume": lambda options, value: add_volume(options.result, options.line, options.fields, value),
    "network": lambda options, value: set_network(options.result, options.line, options.fields, value),
    "cap-add": lambda options, value: set_capabilities(options.result, options.line, options.fields, [value]),
}
