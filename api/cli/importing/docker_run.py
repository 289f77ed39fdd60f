"""The options of `docker run`, as fields of a job. Pure."""

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

#: Letters of options that take no value.
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
#: What runs do anyway: they are watched to their end, and then their containers are removed.
_ANYWAY: Final = {"rm", "detach", "quiet", "sig-proxy", "attach", "disable-content-trust"}
_PULL: Final = {"always": "always", "missing": "if_not_present", "never": "never"}
_HINTS: Final = {
    "env-file": "its variables are not known here; write them under runtime_vars, or set secrets",
    "interactive": "runs have no standard input",
    "tty": "runs have no terminal, and keep stdout and stderr apart",
    "privileged": "no job can be privileged; name what it needs as capabilities",
    "entrypoint": "the image's own is used; give its words in command if the image has none",
    "workdir": "the image's own is used; begin the command with sh -c 'cd … && …'",
    "restart": "failed runs are tried again with max_retries",
    "log-driver": "what runs print is kept by Timeball",
    "log-opt": "what runs print is kept by Timeball",
    "publish": "no ports are published",
    "publish-all": "no ports are published",
    "gpus": "there are none",
    "cpu-shares": "choose a resource_size",
    "memory-swap": "sizes have no swap",
    "secret": "set it with 'timeball secret set', and name it in runtime_vars",
}


class OptionsError(Exception):
    """The words are no `docker run`."""


@dataclass(slots=True)
class _Options:
    """What has been found so far.

    Attributes:
        line: of the file; also where notes go.
        environment: of the docker command, whose variables `-e NAME` hands on.
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
    """The job that `docker run` with these words is.

    Args:
        words: what follows `run`.
        result: where notes go.
        line: of the file.
        environment: of the docker command, as far as it is known.

    Raises:
        OptionsError: there is no image, or an option lacks its value.
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
    """Put options given by name and value, as Chronos has them, into a job's fields."""
    options = _Options(result, line, fields)
    for name, value in pairs:
        take_option(options, _SAME.get(name, name), value)
    if options.variables:
        set_variables(result, line, fields, options.variables)
    if options.cpus or options.memory:
        set_size(result, line, fields, cpus=options.cpus, memory=options.memory)


def take_option(options: _Options, name: str, value: str) -> None:
    """One option by its long name; a flag's value is `true` or `false`."""
    if name in _FLAGS and value.lower() in {"false", "0", "f"}:
        return
    if name in _ANYWAY:
        return
    if (found := _TAKEN.get(name)) is not None:
        found(options, value)
        return
    shown = f"--{name}" if name in _FLAGS else f"--{name} {value}"
    hint = _HINTS.get(name)
    options.note(f"{shown} is not carried over{f': {hint}' if hint else ''}")


def _named(word: str, rest: list[str]) -> list[tuple[str, str]]:
    """The options in one word, by their long names, with their values; these may be the next word."""
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
        raise OptionsError(f"docker run {option} lacks its value")
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
        options.note(f"--memory {value} is no size and is not carried over")


def _cpus(options: _Options, value: str) -> None:
    try:
        options.cpus = float(value)
    except ValueError:
        options.note(f"--cpus {value} is no number and is not carried over")


def _pull(options: _Options, value: str) -> None:
    if value in _PULL:
        options.fields["pull_policy"] = _PULL[value]
    else:
        options.note(
            f"--pull {value} is not carried over: use always, if_not_present or never as pull_policy"
        )


def _grace(options: _Options, value: str) -> None:
    if value.isascii() and value.isdecimal() and int(value[:9]) <= 3600:
        options.fields["stop_grace_seconds"] = int(value)
    else:
        options.note(f"--stop-timeout {value} is not carried over: use 0 to 3600 as stop_grace_seconds")


def _label(options: _Options, value: str) -> None:
    name, _, text = value.partition("=")
    options.fields.setdefault("labels", {})[name] = text


def _read_only(options: _Options, _value: str) -> None:
    options.fields["read_only_root"] = True


def _mount(options: _Options, value: str) -> None:
    parts = dict(one.partition("=")[::2] for one in value.split(","))
    source = parts.get("source") or parts.get("src", "")
    target = parts.get("target") or parts.get("destination") or parts.get("dst", "")
    if parts.get("type", "volume") != "bind" or not source.startswith("/"):
        options.note(f"--mount {value} is not carried over: mount a directory of the host (type=bind)")
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
