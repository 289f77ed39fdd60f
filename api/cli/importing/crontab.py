"""Reads crontab files whose lines start containers with `docker run`. Pure.

Lines are those of cron on Debian and of cronie, with a column for the user or without it, as in /etc/crontab.
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
#: Programs that start another one; what is behind them is looked at.
_WRAPPERS: Final = frozenset(
    {"sudo", "nice", "ionice", "chronic", "exec", "timeout", "flock", "env", "time", "nohup"}
)
_PROGRAMS: Final = _ENGINES | _WRAPPERS | {"cd", "test", "[", "sh", "bash", "sleep", "echo", "export"}
#: Options of wrappers that take a word of their own.
_TAKES_WORD: Final = frozenset({"-n", "-c", "-p", "-u", "-g", "-w", "-E", "-k", "-s"})
#: Options of flock that have it give up at once.
_AT_ONCE: Final = frozenset({"-n", "--nb", "--nonblock"})
#: Programs whose options change what is done, with what to do instead.
_MATTERS: Final = {
    "flock": "",
    "timeout": ": stop_grace_seconds is the time between the signals SIGTERM and SIGKILL",
    "nice": ": resource_size says how much a run takes",
    "ionice": ": resource_size says how much a run takes",
}
_SYSTEM: Final = ("/etc/crontab", "/etc/cron.d/")


def looks_like_crontab(text: str) -> bool:
    """Whether some line has the form of one of crontab's."""
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
    """The jobs of a crontab.

    Args:
        text: of the file.
        file: its name, which tells whether it has a column for the user; else each line is looked at.
    """
    result = Imported()
    table = _Table(result, text, has_users=file.startswith(_SYSTEM))
    for number, line in enumerate(text.split("\n"), 1):
        table.take(number, line.rstrip("\r"))
    return result


class _Table:
    """One crontab, line by line, with the variables that have been set so far."""

    def __init__(self, result: Imported, text: str, *, has_users: bool) -> None:
        self._result = result
        self._text = text
        self._has_users = has_users
        self._variables: dict[str, str] = {}
        self._zone: str | None = None
        self._locks: dict[str, int] = {}

    def take(self, number: int, line: str) -> None:
        """One line."""
        if not line.strip() or line.lstrip().startswith("#"):
            return
        if (match := _VARIABLE.fullmatch(line)) is not None:
            self._set(number, match[1] or match[2] or match[3], match[4])
            return
        match = _FIELDS.fullmatch(line)
        if match is None:
            self._result.lose(
                number, f"{line.strip()[:80]!r} is no line of a crontab, and is not carried over"
            )
            return
        when, rest = match[1], match[2].rstrip()
        if when == "@reboot":
            remedy = (
                "nothing here runs when a machine starts; R1//PT0S runs once when the schedule is switched on"
            )
            self._result.lose(number, f"@reboot is not carried over: {remedy}")
            return
        rest = self._without_user(number, rest)
        command, standard_input = _split_percent(rest.removeprefix("-"))
        fields = self._job(number, command)
        if fields is None:
            return
        schedule = " ".join(when.split())
        if (error := schedule_error(schedule, self._zone)) is not None:
            self._result.lose(number, f"the schedule {schedule!r} cannot be carried over: {error}")
            return
        if standard_input is not None:
            self._result.note(
                number, "what follows '%' was standard input, which runs do not have: put it into the command"
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
                remedy = "set email_enabled for mail to the job's owner when runs fail, or make a hook"
                self._result.note(number, f"MAILTO={value} is not carried over: {remedy}")
        elif not re.search(rf"(?:\$\{{?|-e *|--env[ =]){re.escape(name)}\b", self._text):
            self._result.note(
                number, f"{name} is not carried over: containers have only what stands in runtime_vars"
            )

    def _without_user(self, number: int, rest: str) -> str:
        """The command of a line, without the user before it if there is one."""
        match = _USER.fullmatch(rest)
        if match is None or (not self._has_users and not _is_user(match[1], match[2])):
            return rest
        if match[1] != "root":
            why = "that is who called docker, not who runs in the container; name that one as user"
            self._result.note(number, f"user {match[1]} is not carried over: {why}")
        return match[2]

    def _job(self, number: int, line: str) -> dict[str, Any] | None:
        """The job that a line of shell is; None, and a note, if it is none."""
        try:
            commands = read_line(line, self._variables)
        except ShellError as error:
            self._result.lose(number, f"the command cannot be read: {error}")
            return None
        runs = [(one, words) for one in commands if (words := _behind_wrappers(one)) and _is_run(words)]
        if len(runs) != 1:
            if runs:
                why = "it has several 'docker run': make a line of each"
            else:
                what = " ".join(commands[0].words[:2]) if commands else "nothing"
                why = f"it runs {what[:60]}, and jobs are containers: put it into an image, and write 'docker run'"
            self._result.lose(number, f"the line is not carried over: {why}")
            return None
        command, words = runs[0]
        self._note_shell(number, commands, command)
        at = words.index("run")
        if len(words[:at]) > 1 and words[1:at] != ["container"]:
            self._result.note(
                number,
                f"{' '.join(words[1:at])} is not carried over: region_name says on which engine jobs run",
            )
        try:
            fields = read_docker_run(words[at + 1 :], self._result, number, self._variables)
        except OptionsError as error:
            self._result.lose(number, f"the line is not carried over: {error}")
            return None
        self._take_wrappers(number, command.words[: len(command.words) - len(words)], fields)
        return fields

    def _note_shell(self, number: int, commands: Sequence[Command], run: Command) -> None:
        """What the shell did around the run."""
        for one in commands:
            if one is not run:
                words = f"{one.before} {' '.join(one.words)}".strip()
                self._result.note(
                    number,
                    f"'{words[:120]}' is not carried over: a job is one container and nothing around it",
                )
        for redirection in run.redirections:
            if redirection != "2>&1" and not redirection.endswith("/dev/null"):
                why = (
                    "standard input is empty"
                    if "<" in redirection
                    else "what a run prints is in its log (timeball logs)"
                )
                self._result.note(number, f"'{redirection}' is not carried over: {why}")
        for expansion in dict.fromkeys(run.expansions):
            self._result.note(
                number,
                f"'{expansion}' was filled in by the shell, and stands as it is now: write what is meant",
            )

    def _take_wrappers(self, number: int, words: Sequence[str], fields: dict[str, Any]) -> None:
        """What stood before `docker`: locks and time limits have fields of their own."""
        by = ""
        for place, word in enumerate(words):
            name = word.rsplit("/", 1)[-1]
            if re.match(r"[A-Za-z_]\w*=", word):
                what = word.partition("=")[0]
                self._result.note(number, f"{what} was set for the docker command, and is not carried over")
            elif name in _WRAPPERS:
                by = name
                if name == "timeout":
                    self._take_limit(number, words[place:], fields)
            elif word.startswith("-") and by == "flock" and word in _AT_ONCE:
                fields["concurrency_policy"] = "forbid"
            elif word.startswith("-") and by in _MATTERS:
                value = f" {words[place + 1]}" if word in _TAKES_WORD and place + 1 < len(words) else ""
                self._result.note(number, f"'{word}{value}' of {by} is not carried over{_MATTERS[by]}")
            elif by == "flock" and words[place - 1] not in _TAKES_WORD - _AT_ONCE:
                self._take_lock(number, word, fields)
                by = ""  # what follows is another command

    def _take_limit(self, number: int, words: Sequence[str], fields: dict[str, Any]) -> None:
        length = _limit_of(words[1:])
        if length:
            fields["timeout_seconds"] = max(1, round(length))
        else:
            self._result.note(number, f"'{' '.join(words)}' is not carried over: set timeout_seconds")

    def _take_lock(self, number: int, lock: str, fields: dict[str, Any]) -> None:
        """Runs of one job wait for each other here; those of others do not."""
        fields.setdefault("concurrency_policy", "queue")
        first = self._locks.setdefault(lock, number)
        if first != number:
            why = "only runs of the same job wait for each other, or give way"
            self._result.note(
                number, f"the lock {lock} is that of line {first} too, which is not carried over: {why}"
            )


def _limit_of(words: Sequence[str]) -> float | None:
    """Seconds after which `timeout` ends what it starts; None if that cannot be told."""
    before = ""
    for word in words:
        if word[:1].isdigit() and before not in _TAKES_WORD:
            return go_duration(word if word[-1].isalpha() else f"{word}s")
        before = word
    return None


def _is_user(word: str, rest: str) -> bool:
    """Whether a word is the user's column: what follows it is a program that lines begin with."""
    following = rest.split(None, 1)[0].rsplit("/", 1)[-1] if rest.split() else ""
    return word not in _PROGRAMS and (following in _PROGRAMS or word == "root")


def _is_run(words: Sequence[str]) -> bool:
    """Whether words are `docker run`, with or without options of the docker command."""
    if words[0].rsplit("/", 1)[-1] not in _ENGINES or "run" not in words:
        return False
    before = words[1 : words.index("run")]
    return not any(word in {"compose", "exec", "start", "service", "build"} for word in before)


def _behind_wrappers(command: Command) -> list[str]:
    """The words from the engine's command on; empty if something else is run."""
    words = command.words
    for place, word in enumerate(words):
        name = word.rsplit("/", 1)[-1]
        if name in _ENGINES:
            return words[place:]
        is_own = name in _WRAPPERS or word.startswith("-") or re.match(r"[A-Za-z_]\w*=", word)
        # A lock's file, a time limit, or the value of an option.
        is_value = place > 0 and (
            words[place - 1] in _TAKES_WORD
            or words[place - 1].rsplit("/", 1)[-1] in {"flock", "timeout"}
            or (place > 1 and any(one.rsplit("/", 1)[-1] in {"flock", "timeout"} for one in words[:place]))
        )
        if not is_own and not is_value:
            return []
    return []


def _split_percent(text: str) -> tuple[str, str | None]:
    """The command, and what cron hands to it as input: all that follows the first '%' that is not escaped."""
    parts = re.split(r"(?<!\\)%", text, maxsplit=1)
    found = [part.replace("\\%", "%") for part in parts]
    return found[0], found[1] if len(found) > 1 else None
