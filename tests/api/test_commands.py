"""The command's clients: what people type to define jobs, run them, and read what they wrote."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner
from pytest_aiohttp.plugin import AiohttpServer

from api.cli.main import COMMANDS, main
from tests.api.conftest import REPO, TAG, Api, until
from tests.api.test_access_commands import has_settled, run, run_json

__all__ = ["has_settled"]


@dataclass(frozen=True)
class Result:
    """What a command of its own process left."""

    exit_code: int
    stdout: str
    stderr: str


async def run_apart(api: Api, *words: str) -> Result:
    """A command in a process of its own, for what is printed while the daemon here says something as well."""
    program = Path(sys.executable).with_name("timeball")
    environment = os.environ | {"TIMEBALL_URL": str(api.client.make_url("")), "TIMEBALL_TOKEN": api.token}
    process = await asyncio.create_subprocess_exec(
        program, *words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    return Result(process.returncode or 0, out.decode(), err.decode())


async def make(api: Api, name: str, command: str, *more: str) -> int:
    """A job that the command has defined."""
    words = ("job", "create", name, "--image", f"{REPO}:{TAG}", "--command", command, *more)
    return int((await run_json(api, *words))["id"])


async def test_a_job_is_defined_listed_changed_paused_and_removed(api: Api):
    """By its name as well as by its id; each answer says what is so."""
    number = await make(
        api, "nightly", "true", "-e", "A=1=2", "-l", "tier=db", "--schedule", "@daily", "--active",
        "--timezone", "Europe/Berlin", "--set", "max_retries=3", "--set", "concurrency_policy=forbid",
    )  # fmt: skip
    stored = await api.job(number)
    assert (stored["runtime_vars"], stored["labels"]) == ({"A": "1=2"}, {"tier": "db"})
    assert (stored["max_retries"], stored["concurrency_policy"]) == (3, "forbid")
    listed = (await run(api, "job", "list", "--state", "active")).stdout
    assert re.search(r"nightly .* @daily +active +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", listed), listed
    assert (await run(api, "job", "list", "-l", "tier=web", "-q")).stdout == ""
    assert (await run(api, "job", "pause", "nightly")).stdout.startswith(f"Paused job {number} 'nightly'.")
    assert not (await api.job(number))["is_schedule_active"]
    assert (await run_json(api, "job", "resume", str(number)))["is_schedule_active"]
    changed = await run(api, "job", "update", "nightly", "--size", "M", "--name", "hourly", "-q")
    assert changed.stdout == f"{number}\n"
    shown = (await run(api, "job", "show", "hourly")).stdout
    assert re.search(r"^resource_size +M$", shown, re.MULTILINE)
    asked = await run(api, "job", "delete", "hourly", given="n\n")
    assert asked.exit_code == 1
    assert (await run_json(api, "job", "delete", "hourly", "--yes")) == {"deleted": number}
    assert (await api.get(f"/v1/jobs/{number}")).status == 404


async def test_a_run_is_followed_to_its_end(api: Api):
    """Output on standard output, all else on standard error; success and failure are the command's own."""
    await make(api, "greeting", "greet")
    good = await run_apart(api, "run", "greeting", "-e", "X=1")
    assert good.exit_code == 0, good.output
    assert good.stdout == "hello\nworld\n"
    assert "careful" in good.stderr
    assert good.stderr.rstrip().endswith("The run succeeded.")
    quiet = await run_apart(api, "run", "greeting", "-q")
    assert (quiet.stdout, quiet.stderr) == ("hello\nworld\n", "careful\n")

    await make(api, "failing", "false")
    bad = await run_apart(api, "run", "failing")
    assert bad.exit_code == 1
    assert "The run failed: " in bad.stderr
    answered = await run_apart(api, "run", "failing", "--json")
    assert (answered.exit_code, json.loads(answered.stdout)["status"]) == (1, "F")


async def test_a_run_may_be_left_to_itself_looked_at_and_stopped(api: Api):
    """Without following, the command prints the id that the others take."""
    job = await make(api, "long", "patient")
    one = (await run_apart(api, "run", "long", "--no-follow", "-q")).stdout.strip()
    await api.until_status(job, one, "R")
    listed = await run(api, "exec", "list", "--job", "long", "--status", "running")
    assert one in listed.stdout
    assert (await run_json(api, "exec", "show", one))["job"]["name"] == "long"
    assert re.search(r"^job +\d+ \(long\)$", (await run(api, "exec", "show", one)).stdout, re.MULTILINE)
    refused = await run(api, "exec", "delete", one)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "has not ended" in refused.stderr
    assert (await run(api, "exec", "stop", one)).exit_code == 0
    assert (await api.until_ended(job, one))["status"] == "C"
    assert "cancelled" in (await run(api, "exec", "list", "--since", "1h")).stdout
    assert (await run_json(api, "exec", "delete", one)) == {"deleted": one}


async def test_logs_are_printed_by_run_by_job_and_by_filter(api: Api):
    """Streams apart, the newest lines, those that match, or as JSON."""
    job = await make(api, "greeting", "greet")
    one = (await api.run(job))["id"]
    assert (await run(api, "logs", one)).stdout == "hello\nworld\n"
    by_job = await run(api, "logs", "greeting", "--stream", "stdout")
    assert by_job.stdout.splitlines() == [f"{one[:8]} hello", f"{one[:8]} world"]
    assert (await run(api, "logs", one, "--grep", "^w")).stdout.endswith("world\n")
    assert "hello" not in (await run(api, "logs", one, "--tail", "2")).stdout
    lines = (await run(api, "logs", one, "--json", "--since", "1h", "--until", "now")).stdout.splitlines()
    assert {"message", "time", "stream", "timestamp"} <= set(json.loads(lines[0]))
    followed = await run(api, "logs", "-f", "greeting")
    assert followed.stdout == "hello\nworld\n"
    assert re.search(r"\d\d:\d\d:\d\d careful", (await run(api, "logs", "-t", one)).stderr)
    assert (await run(api, "logs", "--namespace", "admin", "--stream", "stderr")).stderr.endswith("careful\n")


async def test_the_ledger_and_figures_are_shown(api: Api):
    """As tables, or as the API answers."""
    job = await make(api, "once", "true", "--schedule", "R1//PT1H", "--active")
    found = await until(lambda: api.get(f"/v1/jobs/{job}/execs"), lambda seen: seen.body["count"] == 1)
    await api.until_ended(job, found.body["results"][0]["id"])  # the daemon's own words share the output here
    [entry] = (await run_json(api, "occurrences", "once"))["results"]
    assert entry["exec"] == found.body["results"][0]["id"]
    assert "ran" in (await run(api, "occurrences", "once", "--since", "1h")).stdout
    assert (await run_json(api, "occurrences", "once", "--outcome", "missed"))["results"] == []
    assert (await run_json(api, "stats", "once"))["counts"]["S"] == 1
    assert re.search(r"once +1 +1 +0 +0 +100.0%", (await run(api, "stats")).stdout)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("jbo",), 2, "Did you mean 'job'?"),
        (("run", "nothing"), 2, "There is no job with the id or name 'nothing'"),
        (("job", "show", "77"), 2, "'77'"),
        (("logs", "00000000-0000-0000-0000-000000000007"), 1, "0007"),
        (("logs", "x", "--since", "yesterday"), 2, "'yesterday' is not a time"),
        (("job", "create", "x"), 2, "timeball job create: docker_image_repo"),
        (("job", "create", "x", "--image", "b", "-e", "A"), 2, "NAME=VALUE"),
        (("job", "create", "x", "--image", "b", "--schedule", "R/2026"), 2, "schedule_mode"),
    ],
)
async def test_what_cannot_be_done_is_said_in_one_line(
    api: Api, words: tuple[str, ...], status: int, said: str
):
    """With the value, and what to do instead."""
    result = await run(api, *words)
    assert result.exit_code == status, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output


async def test_a_command_of_a_run_is_split_by_the_daemon(api: Api):
    """Quotes that do not close are refused in its words, and do not break the command."""
    job = await make(api, "greeting", "greet")
    result = await run(api, "run", "greeting", "--command", "echo 'a")
    assert (result.exit_code, "no closing quotation" in result.stderr) == (2, True)
    assert (await run(api, "run", "greeting", "--command", "echo 'a b'", "-q", "--no-follow")).exit_code == 0
    (one,) = (await api.get(f"/v1/jobs/{job}/execs")).body["results"]
    assert one["command"] == "echo 'a b'"


async def test_with_json_a_refusal_is_the_api_s_answer(api: Api):
    """The problem details, beside the line that says why."""
    result = await run(api, "job", "create", "x", "--image", "Bad Image", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["errors"][0]["field"] == "docker_image_repo"
    assert "docker_image_repo" in result.stderr


def test_the_version_is_printed_in_either_way():
    """As a command and as an option."""
    asked = [CliRunner().invoke(main, words) for words in (["--version"], ["version"])]
    assert asked[0].stdout == asked[1].stdout
    assert asked[0].stdout.startswith("timeball ")


def test_a_daemon_that_is_not_there_is_told_apart():
    """Status 3, and how to start one."""
    environment = {"TIMEBALL_URL": "http://127.0.0.1:9", "TIMEBALL_TOKEN": "tbl_none"}
    result = CliRunner().invoke(main, ["job", "list"], env=environment)
    assert result.exit_code == 3
    assert "timeball serve" in result.stderr


async def test_every_command_says_what_it_does(api: Api):
    """In the list without being loaded, and at length."""
    listed = (await run(api, "--help")).stdout
    for name in COMMANDS:
        assert name in listed
        assert (await run(api, name, "--help")).exit_code == 0


async def test_something_else_that_answers_is_told_from_a_daemon(aiohttp_server: AiohttpServer):
    """A web server that says 200 to everything is none, and no traceback comes of it."""

    async def greet(_request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", greet)
    server = await aiohttp_server(app)
    environment = {"TIMEBALL_URL": str(server.make_url("")), "TIMEBALL_TOKEN": "tbl_none"}
    for words in (["job", "list"], ["run", "x"], ["exec", "diff", "a", "b"], ["hook", "list"]):
        result = await asyncio.to_thread(CliRunner().invoke, main, words, env=environment)
        assert result.exit_code == 1, result.output
        assert f"timeball {' '.join(words[:2])}".strip("x ") in result.stderr
        assert "it is not a Timeball daemon" in result.stderr


async def test_a_job_that_is_misspelt_is_suggested(api: Api):
    """Whatever the command; a daemon without such a job suggests none."""
    await make(api, "nightly", "true")
    for words in (
        ("run", "nightyl"),
        ("job", "pause", "nightyl"),
        ("logs", "nightyl"),
        ("occurrences", "nigthly"),
    ):
        result = await run(api, *words)
        assert (result.exit_code, "Did you mean 'nightly'?" in result.stderr) == (2, True), result.output
    assert "timeball job list" in (await run(api, "run", "quite-another")).stderr


async def test_lines_are_written_to_a_file_as_they_were_printed(api: Api, tmp_path: Path):
    """Whole or not at all; what is there stays unless it is said that it may go."""
    await api.run(await make(api, "greeting", "greet"))
    file = tmp_path / "log"
    done = await run_apart(api, "logs", "greeting", "--stream", "stdout", "-o", str(file))
    assert (done.exit_code, file.read_text(), done.stdout) == (0, "hello\nworld\n", "")
    assert file.stat().st_mode & 0o077 == 0
    again = await run_apart(api, "logs", "greeting", "-o", str(file))
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert (await run_apart(api, "logs", "greeting", "-o", str(file), "--force", "--json")).exit_code == 0
    assert [json.loads(line)["message"] for line in file.read_text().splitlines()][-1] in {"world", "careful"}
    assert (await run_apart(api, "logs", "-f", "greeting", "-o", str(file))).exit_code == 2
    assert (await run_apart(api, "logs", "greeting", "-o", str(tmp_path / "no" / "log"))).exit_code == 2
    assert not [name for name in await asyncio.to_thread(os.listdir, tmp_path) if name.endswith(".partial")]
