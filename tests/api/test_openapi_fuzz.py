"""What schemathesis finds between the document and the daemon: it sends what that allows, and what it does not.

With all its checks: no 5xx, no status or content type that is not described, no answer that its schema does not
allow, nothing accepted that the schema forbids, nothing refused that it allows, no route without its token.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from api.operations.examples import LOG_IN
from tests.api.conftest import World
from tests.api.permissions import make

HOOKS = "tests.lab.openapi_hooks"
ROOT = Path(__file__).parents[2]


async def schemathesis(world: World, tmp_path: Path, *options: str) -> str:
    """Run it against the daemon; what it says.

    Raises:
        AssertionError: it found something.
    """
    api = world.api
    # What the examples name; of the rest, schemathesis makes some as it goes.
    await api.create("movie", namespace="proj_xxx", command="greet")
    await api.create("pipe_check_dao", namespace="proj_xxx", command="greet")
    await make("users", api, LOG_IN)
    made = await api.post("/v1/tokens", {"name": "schemathesis", "role": "admin"})
    url = api.client.make_url("/openapi.json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", str(url), "--checks=all", "--seed=1"),
        *("--generation-deterministic", "--continue-on-failure", "--no-color"),
        *("--request-timeout=60", f"--header=Authorization:Token {made.body['token']}", *options),
        cwd=tmp_path,
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": HOOKS,
            "PYTHONPATH": str(ROOT),
            "TIMEBALL_TEST_TOKEN_ID": str(made.body["id"]),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = said.decode()
    assert process.returncode == 0, text[-30_000:]
    assert world.daemon.failure is None
    return text


async def test_the_daemon_answers_as_its_document_says(world: World, tmp_path: Path):
    """Its examples, and every border of every schema from both sides: the same thousands of requests in every run."""
    text = await schemathesis(world, tmp_path, "--phases=examples,coverage")
    assert re.search(r"[0-9]{4,} generated", text), text


@pytest.mark.slow
async def test_the_daemon_answers_as_its_document_says_however_often_it_is_asked(
    world: World, tmp_path: Path
):
    """Besides, a hundred random requests to each, and sequences that build on each other's answers."""
    await schemathesis(world, tmp_path, "--max-examples=100", "--workers=1")
