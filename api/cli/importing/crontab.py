"""Reads crontab files whose lines start containers with `docker run`. Pure.

Supports the syntax of cron on Debian and of cronie, with or without a user column as in /etc/crontab.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from api.cli.importing.common import schedule_error
from api.cli.importing.docker_run import OptionsError, read_docker_run
from api.cli.importing.gocron import go_duration
from api.cli.importing.result import Imported
from api.cli.importing.shell import Command, ShellError, read_line

_VARIABLE: Final = re.compile(
    r"""\s*(?:"([^"=]+)"|'([^'=]+)'|([A-Za-z_][A-Za-z0-9_]*))\s*=\s*(.*?)\s*""", re.ASCII
)
_FIELDS: Final = re.compile(r"\s*(@\S+|\S+(?:\s+\S+){4})\s+(.*)", re.DOTALL)
_TIME: Final = re.compile(r"[0-9*,/A-Za-z~-]+", re.ASCII)
_USER: Final = re.compile(r"([a-z_][a-z0-9_.-]*\$?)\s+(.*)", re.ASCII | re.DOTALL)
_ENGINES: Final = frozenset({"docker", "podman"})
#: Programs that start another program, which is what matters.
_WRAPPERS: Final = frozenset(
    {"sudo", "nice", "ionice", "chronic", "exec", "timeout", "flock", "env", "time", "nohup"}
)
_PROGRAMS: Final = _ENGINES | _WRAPPERS | {"cd", "test", "[", "sh", "bash", "sleep", "echo", "export"}
#: Options of wrappers that take a value.
_TAKES_WORD: Final = frozenset({"-n", "-c", "-p", "-u", "-g", "-w", "-E", "-k", "-s"})
#: Options of flock that make it give up immediately.
_AT_ONCE: Final = frozenset({"-n", "--nb", "--nonblock"})
#: Programs whose options matter, with what to use instead.
_MATTERS: Final = {
    "flock": "",
    "timeout": ": stop_grace_seconds is the time between SIGTERM and SIGKILL",
    "nice": ": resource_size limits the resources of a run",
    "ionice": ": resource_size limits the resources of a run",
}
_SYSTEM: Final = ("/etc/crontab", "/etc/cron.d/")


def looks_like_crontab(text: str) -> bool:
    """Whether any line looks like a crontab line."""
    return any(
        (match := _FIELDS.fullmatch(line)) is not None
        and (
            match[1].startswith("@")
            or all(_TIME.fullmatch(word) and not word[0].isalpha() for word in match[1].split()[:2])
        )
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
    )


def read_crontab(text: str, file: str = "") -> Imported:
    """The jobs in a crontab.

    Args:
        text: the contents of the file.
        file: the name of the file. System crontabs have a user column; in others, each line is checked for one.
    """
    result = Imported()
    table = _Table(result, text, has_users=file.startswith(_SYSTEM))
    for number, line in enumerate(text.split("\n"), 1):
        table.take(number, line.rstrip("\r"))
    return result


class _Table:
    """A crontab, read line by line, with the variables set so far."""

    def __init__(self, result: Imported, text: str, *, has_users: bool) -> None:
        self._result = result
        self._text = text
        self._has_users = has_users
        self._variables: dict[str, str] = {}
        self._zone: str | None = None
        self._locks: dict[str, int] = {}

    def take(self, number: int, line: str) -> None:
        """Read a line."""
        if not line.strip() or line.lstrip().startswith("#"):
            return
        if (match := _VARIABLE.fullmatch(line)) is not None:
            self._set(number, match[1] or match[2] or match[3], match[4])
            return
        match = _FIELDS.fullmatch(line)
        if match is None:
            self._result.lose(number, f"{line.strip()[:80]!r} is not a crontab line and is not imported")
            return
        when, rest = match[1], match[2].rstrip()
        if when == "@reboot":
            hint = "schedules cannot react to a machine's start; R1//PT0S runs once when the schedule is switched on"
            self._result.lose(number, f"@reboot is not imported: {hint}")
            return
        rest = self._without_user(number, rest)
        command, standard_input = _split_percent(rest.removeprefix("-"))
        fields = self._job(number, command)
        if fields is None:
            return
        schedule = " ".join(when.split())
        if (error := schedule_error(schedule, self._zone)) is not None:
            self._result.lose(number, f"the schedule {schedule!r} cannot be imported: {error}")
            return
        if standard_input is not None:
            self._result.note(
                number, "the text after '%' is standard input, which runs do not have; add it to the command"
            )
        fields |= {"schedule_mode": schedule, "is_schedule_active": True}
        if self._zone is not None:
            fields["schedule_timezone"] = self._zone
        else:
            self._result.follows_wall_clock = True
        self._result.add(number, fields)

    def _set(self, number: int, name: str, value: str) -> None:
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        self._variables[name] = value
        if name == "CRON_TZ":
            self._zone = value or None
        elif name == "MAILTO":
            if value:
                remedy = (
                    "set email_enabled to notify the job's owner by email when runs fail, or create a webhook"
                )
                self._result.note(number, f"MAILTO={value} is not imported: {remedy}")
        elif not re.search(rf"(?:\$\{{?|-e *|--env[ =]){re.escape(name)}\b", self._text):
            self._result.note(
                number, f"{name} is not imported: containers get only the variables in runtime_vars"
            )

    def _without_user(self, number: int, rest: str) -> str:
        """The command of a line, without the user column if there is one."""
        match = _USER.fullmatch(rest)
        if match is None or (not self._has_users and not _is_user(match[1], match[2])):
            return rest
        if match[1] != "root":
            why = "it is the user who called docker; set user for the user in the container"
            self._result.note(number, f"user {match[1]} is not imported: {why}")
        return match[2]

    def _job(self, number: int, line: str) -> dict[str, Any] | None:
        """The job in a shell command line; None, with a note, if there is none."""
        try:
            commands = read_line(line, self._variables)
        except ShellError as error:
            self._result.lose(number, f"the command cannot be read: {error}")
            return None
        runs = [
            (command, words)
            for command in commands
            if (words := _behind_wrappers(command)) and _is_run(words)
        ]
        if len(runs) != 1:
            if runs:
                why = "it contains several 'docker run' commands; write each on its own line"
            else:
                what = " ".join(commands[0].words[:2]) if commands else "nothing"
                why = (
                    f"it runs {what[:60]}, not a container; add it to an image and start it with 'docker run'"
                )
            self._result.lose(number, f"the line is not imported: {why}")
            return None
        command, words = runs[0]
        self._note_shell(number, commands, command)
        at = words.index("run")
        if len(words[:at]) > 1 and words[1:at] != ["container"]:
            self._result.note(
                number,
                f"{' '.join(words[1:at])} is not imported: set region_name to choose the engine",
            )
        try:
            fields = read_docker_run(words[at + 1 :], self._result, number, self._variables)
        except OptionsError as error:
            self._result.lose(number, f"the line is not imported: {error}")
            return None
        self._take_wrappers(number, command.words[: len(command.words) - len(words)], fields)
        return fields

    def _note_shell(self, number: int, commands: Sequence[Command], run: Command) -> None:
        """Add notes on the rest of the shell command line."""
        for command in commands:
            if command is not run:
                words = f"{command.before} {' '.join(command.words)}".strip()
                self._result.note(
                    number,
                    f"'{words[:120]}' is not imported: a job runs a single container and nothing else",
                )
        for redirection in run.redirections:
            if redirection != "2>&1" and not redirection.endswith("/dev/null"):
                why = (
                    "standard input is empty"
                    if "<" in redirection
                    else "a run's output is in its log (timeball logs)"
                )
                self._result.note(number, f"'{redirection}' is not imported: {why}")
        for expansion in dict.fromkeys(run.expansions):
            self._result.note(
                number,
                f"'{expansion}' was expanded by the shell and is now used literally; write the value instead",
            )

    def _take_wrappers(self, number: int, words: Sequence[str], fields: dict[str, Any]) -> None:
        """Read the words before `docker`: locks and time limits become fields."""
        by = ""
        for place, word in enumerate(words):
            name = word.rsplit("/", 1)[-1]
            if re.match(r"[A-Za-z_]\w*=", word):
                what = word.partition("=")[0]
                self._result.note(number, f"{what} was set for the docker command and is not imported")
            elif name in _WRAPPERS:
                by = name
                if name == "timeout":
                    self._take_limit(number, words[place:], fields)
            elif word.startswith("-") and by == "flock" and word in _AT_ONCE:
                fields["concurrency_policy"] = "forbid"
            elif word.startswith("-") and by in _MATTERS:
                value = f" {words[place + 1]}" if word in _TAKES_WORD and place + 1 < len(words) else ""
                self._result.note(number, f"'{word}{value}' of {by} is not imported{_MATTERS[by]}")
            elif by == "flock" and words[place - 1] not in _TAKES_WORD - _AT_ONCE:
                self._take_lock(number, word, fields)
                by = ""  # another command follows

    def _take_limit(self, number: int, words: Sequence[str], fields: dict[str, Any]) -> None:
        length = _limit_of(words[1:])
        if length:
            fields["timeout_seconds"] = max(1, round(length))
        else:
            self._result.note(number, f"'{' '.join(words)}' is not imported: set timeout_seconds")

    def _take_lock(self, number: int, lock: str, fields: dict[str, Any]) -> None:
        """Set the concurrency policy for a lock. It applies only to runs of the same job."""
        fields.setdefault("concurrency_policy", "queue")
        first = self._locks.setdefault(lock, number)
        if first != number:
            why = "the concurrency policy applies only to runs of the same job"
            self._result.note(
                number, f"the lock {lock} is shared with line {first}, which is not imported: {why}"
            )


def _limit_of(words: Sequence[str]) -> float | None:
    """The time limit of `timeout` in seconds; None if unknown."""
    before = ""
    for word in words:
        if word[:1].isdigit() and before not in _TAKES_WORD:
            return go_duration(word if word[-1].isalpha() else f"{word}s")
        before = word
    return None


def _is_user(word: str, rest: str) -> bool:
    """Whether a word is the user column, because a known program follows it."""
    following = rest.split(None, 1)[0].rsplit("/", 1)[-1] if rest.split() else ""
    return word not in _PROGRAMS and (following in _PROGRAMS or word == "root")


def _is_run(words: Sequence[str]) -> bool:
    """Whether words are `docker run`, with or without options of the docker command."""
    if words[0].rsplit("/", 1)[-1] not in _ENGINES or "run" not in words:
        return False
    before = words[1 : words.index("run")]
    return not any(word in {"compose", "exec", "start", "service", "build"} for word in before)


def _behind_wrappers(command: Command) -> list[str]:
    """The words from the engine's command on; empty if the line runs something else."""
    words = command.words
    for place, word in enumerate(words):
        name = word.rsplit("/", 1)[-1]
        if name in _ENGINES:
            return words[place:]
        is_own = name in _WRAPPERS or word.startswith("-") or re.match(r"[A-Za-z_]\w*=", word)
        # A lock file, a time limit, or the value of an option.
        is_value = place > 0 and (
            words[place - 1] in _TAKES_WORD
            or words[place - 1].rsplit("/", 1)[-1] in {"flock", "timeout"}
            or (place > 1 and any(part.rsplit("/", 1)[-1] in {"flock", "timeout"} for part in words[:place]))
        )
        if not is_own and not is_value:
            return []
    return []


def _split_percent(text: str) -> tuple[str, str | None]:
    """The command, and its standard input: everything after the first unescaped '%'."""
    parts = re.split(r"(?<!\\)%", text, maxsplit=1)
    found = [part.replace("\\%", "%") for part in parts]
    return found[0], found[1] if len(found) > 1 else None
