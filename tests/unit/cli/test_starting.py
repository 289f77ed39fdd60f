"""The command starts quickly, as it loads nothing that it does not need; and every command keeps to the rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from api.cli.completion import completion
from api.cli.hooks import EVENTS
from api.cli.main import COMMANDS, main
from api.cli.preview import MOST_OCCURRENCES
from scheduler.domain.hook import HookEvent
from scheduler.timing import preview

#: Every one of them takes longer to load than the rest of the command together.
HEAVY = ("scheduler", "pydantic", "aiohttp", "sqlalchemy", "docker", "asyncio", "alembic", "cryptography")
#: Tells what is loaded by then, after each command line.
PROGRAM = """
import contextlib, io, json, os, sys
from api.cli.main import main
lines, loaded = json.loads(sys.argv[1]), {}
for line in lines:
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(line, prog_name="timeball")
        except SystemExit as end:
            status = end.code
    loaded[" ".join(line)] = [status, sorted({name.partition(".")[0] for name in sys.modules})]
print(json.dumps(loaded))
"""


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group below a group, with the words that lead to it."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from commands(command, (*path, name))


def loaded_by(lines: list[list[str]], **environment: str) -> dict[str, tuple[int, list[str]]]:
    """Exit status and the modules that are loaded by then, for each command line in turn."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        capture_output=True, text=True, check=True, env=os.environ | environment,
    )  # fmt: skip
    found: dict[str, tuple[int, list[str]]] = json.loads(done.stdout)
    return found


def test_no_help_loads_anything_heavy() -> None:
    """Neither the list of commands nor what each says of itself, nor a shell that asks for completions."""
    lines = [["--help"], *([*path, "--help"] for path, _ in commands(main))]
    for line, (status, modules) in loaded_by(lines).items():
        assert status == 0, line
        assert not set(HEAVY) & set(modules), line
    asked = {"_TIMEBALL_COMPLETE": "bash_complete", "COMP_WORDS": "timeball r", "COMP_CWORD": "1"}
    ((_, modules),) = loaded_by([["ignored"]], **asked).values()
    assert not set(HEAVY) & set(modules)


def test_a_client_needs_no_part_of_the_daemon() -> None:
    """What speaks to a daemon works where only the client is wanted: by the standard library and click."""
    lines = [
        ["job", "list"], ["run", "x"], ["logs", "x"], ["exec", "list"], ["exec", "diff", "a", "b"], ["stats"],
        ["token", "list"], ["user", "list"], ["secret", "list"], ["hook", "list"], ["occurrences", "x"],
        ["backup", "never-made.db"],
    ]  # fmt: skip
    nowhere = {"TIMEBALL_URL": "http://127.0.0.1:9", "TIMEBALL_TOKEN": "tbl_none"}
    for line, (status, modules) in loaded_by(lines, **nowhere).items():
        assert status == 3, line
        assert not set(HEAVY) & set(modules), line


@pytest.mark.parametrize(
    "words", [" ".join(path) for path, one in commands(main) if not isinstance(one, click.Group)]
)
def test_every_command_prints_json_and_says_what_it_does(words: str) -> None:
    """All but the daemon itself and what shells read."""
    command = {" ".join(path): one for path, one in commands(main)}[words]
    options = {option for parameter in command.params for option in parameter.opts}
    assert ("--json" in options) is (words not in {"serve", "completion"})
    assert command.help
    if words.rsplit(maxsplit=1)[-1] in {
        "create",
        "update",
        "delete",
        "set",
        "stop",
        "pause",
        "resume",
        "revoke",
        "list",
    }:
        assert "--quiet" in options


def test_what_is_written_twice_to_load_less_is_the_same() -> None:
    """Words of the core that the command knows by itself."""
    assert set(EVENTS) == set(HookEvent)
    assert preview.MOST_OCCURRENCES == MOST_OCCURRENCES
    assert completion.name in COMMANDS
