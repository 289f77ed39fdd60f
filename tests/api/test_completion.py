"""What a shell completes: commands and options by themselves, names and ids with a daemon."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner

from api.cli import completing
from api.cli.main import ALIASES, COMMANDS, main
from tests.api.conftest import PATIENCE, Api, until
from tests.api.test_access_commands import has_settled

__all__ = ["has_settled"]


async def complete(api: Api, line: str, **environment: str) -> dict[str, str]:
    """What completes the last word of a line, each with its explanation, by the protocol of click for zsh."""
    given = {
        "_TIMEBALL_COMPLETE": "zsh_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "TIMEBALL_URL": str(api.client.make_url("")),
        "TIMEBALL_TOKEN": api.token,
    }
    # Where a daemon answers, a busy machine has more than the second after which it is done without.
    with patch.object(completing, "PATIENCE", completing.PATIENCE if environment else PATIENCE):
        result = await asyncio.to_thread(
            CliRunner().invoke, main, [], prog_name="timeball", env=given | environment
        )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    return dict(zip(lines[1::3], lines[2::3], strict=True))


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("timeball ", {*COMMANDS, *ALIASES}),
        ("timeball re", {"registry", "restore"}),
        ("timeball ru", {"run", "runs"}),
        ("timeball runs re", {"replay"}),
        ("timeball exec re", {"replay"}),
        ("timeball run --no", {"--no-follow"}),
        ("timeball runs list --status ", {"waiting", "running", "succeeded", "failed", "cancelled"}),
        ("timeball completion ", {"bash", "zsh", "fish"}),
        ("timeball nonsense ", set()),
    ],
)
async def test_commands_options_and_words_are_completed(api: Api, line: str, wanted: set[str]):
    """Whatever begins as the last word does; for a command that does not exist nothing does."""
    assert set(await complete(api, line)) - ({*COMMANDS, *ALIASES} if "nonsense" in line else set()) == wanted


async def test_jobs_and_runs_are_completed_as_the_daemon_has_them(api: Api):
    """Names that need quotes are left out; ids of runs where a run is meant; stopping is for those that go on."""
    names = ("nightly", "每天备份", "two words", "$(reboot)", "a;b")
    numbers = {name: (await api.create(name, command="true", namespace="team"))["id"] for name in names}
    await api.create("other", command="hang", namespace="elsewhere")
    assert set(await complete(api, "timeball run ")) == {"nightly", "每天备份", "other"}
    assert set(await complete(api, "timeball run --namespace team ")) == {"nightly", "每天备份"}
    assert set(await complete(api, "timeball job delete 每")) == {"每天备份"}
    assert set(await complete(api, "timeball runs list --job n")) == {"nightly"}
    assert set(await complete(api, "timeball job list --namespace ")) == set()
    assert set(await complete(api, "timeball run --namespace e")) == {"elsewhere"}
    one = (await api.run(numbers["nightly"]))["id"]
    assert await complete(api, "timeball runs show ") == {one: "nightly\\: succeeded"} or one in (
        await complete(api, "timeball runs show ")
    )
    assert set(await complete(api, f"timeball logs {one[:4]}")) == {one}
    assert await complete(api, "timeball runs stop ") == {}


async def test_a_daemon_that_does_not_answer_is_done_without(api: Api, tmp_path: Path):
    """No words, no delay beyond a second: not there, silent, refusing, no token, no JSON."""
    await api.create("nightly", command="true")

    listening = socket.create_server(("127.0.0.1", 0))
    silent = f"http://127.0.0.1:{listening.getsockname()[1]}"
    troubles: list[dict[str, Any]] = [
        {"TIMEBALL_URL": "http://127.0.0.1:9"},
        {"TIMEBALL_URL": silent},
        {"TIMEBALL_URL": "nonsense"},
        {"TIMEBALL_TOKEN": "tbl_wrong"},
        {"TIMEBALL_TOKEN": "", "TIMEBALL_DATA_DIR": str(tmp_path / "none")},
    ]
    for trouble in troubles:
        assert await complete(api, "timeball run n", **trouble) == {}, trouble
    listening.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(shell: str):
    """It asks the command itself, under its own name."""
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert f"_TIMEBALL_COMPLETE={shell}_complete" in result.stdout


async def test_bash_completes_with_the_script(api: Api):
    """A real one, with what it gets from the script, the command and the daemon."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    await api.create("每天备份", command="true")
    program = """
        eval "$(timeball completion bash)"
        complete -p timeball
        COMP_WORDS=(timeball run 每); COMP_CWORD=2
        _timeball_completion timeball
        printf '%s\\n' "${COMPREPLY[@]}"
        COMP_WORDS=(timeball exec re); COMP_CWORD=2; COMPREPLY=()
        _timeball_completion timeball
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TIMEBALL_URL": str(api.client.make_url("")),
        "TIMEBALL_TOKEN": api.token,
        "LC_ALL": "C.UTF-8",
    }

    async def press_tab() -> list[str]:
        process = await asyncio.create_subprocess_exec(
            bash, "-c", program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert err == b""
        registered, *completed = out.decode().splitlines()
        assert "_timeball_completion timeball" in registered
        return completed

    # A busy machine can need more than the second after which a daemon is done without.
    assert await until(press_tab, lambda completed: "" not in completed) == ["每天备份", "replay"]
