"""Every command that the manual shows works as it is shown, page by page, in a real shell against a real daemon."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.settings.settings import load_settings
from tests.lab.ports import free_port
from tests.lab.timeball import Timeball
from tests.manual.pages import ROOT, Block, Step, blocks_of, is_as_shown, name_of, pages, steps_of

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
#: Seconds that the commands of a page may take in all; most take some ten.
PAGE_SECONDS = 240
#: What the manual's machine has, and what stands for it in a test.
DEFAULT_URL = "http://127.0.0.1:8601"
IMAGE = "timeball/busybox"
#: Ports on which pages have something listen; each gets a free one.
PORTS = ("9009", "8643")
READERS_SETTINGS = "[hooks]\nallow = ['127.0.0.1']\n"

#: Why some blocks are not run, by page: a block that is left out has to be named here too.
NOT_RUN = {
    "CONTRIBUTING.md": {"it runs these tests", "it changes the checkout"},
    "README.md": {"it sets up this environment", "it installs into the user's environment"},
    "README.zh-CN.md": {"it sets up this environment", "it installs into the user's environment"},
    "docs/architecture.md": {"it runs these tests"},
    "docs/benchmarks.md": {"it runs for minutes"},
    "docs/hooks.md": {"it requires a delivery"},
    "docs/howto/access.md": {"the machine does not exist"},
    "docs/howto/monitoring.md": {"it requires Prometheus", "the machine does not exist"},
    "docs/install.md": {
        "deploy/install-check runs it in a bare root",
        "it sets up this environment",
    },
    "docs/operations.md": {"FILE is a placeholder"},
    "docs/reference/api.md": {"it requires the generators"},
    "docs/simulation.md": {"it runs these tests"},
    "docs/tutorial.md": {"it sets up this environment"},
}


def test_every_block_says_what_it_is() -> None:
    """A block without a known language would be looked at by nobody."""
    known = {"sh", "console", "json", "toml", "yaml", "python", "text", "mermaid"}
    assert [str(block) for block in BLOCKS if block.language not in known] == []


def test_what_is_not_run_is_known_here() -> None:
    """With its reason, so that nothing is left out in silence."""
    left_out: dict[str, set[str]] = {}
    for block in BLOCKS:
        if block.not_run is not None:
            left_out.setdefault(block.page, set()).add(block.not_run)
    assert left_out == NOT_RUN


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("sh", "console")], ids=str)
def test_what_is_shown_is_a_shells_language(block: Block) -> None:
    """Also where it cannot be run."""
    for step in steps_of(block):
        done = subprocess.run(["bash", "-n"], input=step.command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stderr}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=str)
def test_json_that_is_shown_is_json(block: Block) -> None:
    """An ellipsis stands for what is left out."""
    json.loads(block.text.replace(", …", "").replace("…", ""))


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_that_is_shown_is_python(block: Block) -> None:
    """It can be compiled."""
    ast.parse(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "toml"], ids=str)
def test_settings_that_are_shown_are_settings(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon takes them."""
    for name in [name for name in os.environ if name.startswith("TIMEBALL_")]:
        monkeypatch.delenv(name)
    tomllib.loads(block.text)
    config = tmp_path / "timeball.toml"
    config.write_text(block.text, encoding="utf-8")
    load_settings(config)


def _runnable(page: Path) -> list[Step]:
    """What of a page is run, in its order."""
    return [
        step
        for block in blocks_of(page)
        if block.language in ("sh", "console") and block.not_run is None
        for step in steps_of(block)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reader(
    engine_url: str, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Timeball]:
    """A daemon that all pages share, as a reader has one."""
    made = Timeball(
        tmp_path_factory.mktemp("manual") / "data", engine_url, busybox_image, config=READERS_SETTINGS
    )
    await made.start()
    yield made
    await made.clear_away()


def _program(steps: list[Step], folder: Path) -> str:
    """One shell's work: each step prints into a file of its own; the first that fails ends it, but for shown ones."""
    words = ["set -o pipefail", f"cd {folder / 'home'}"]
    for number, step in enumerate(steps):
        words += [
            f"exec >{folder}/{number}.out 2>&1",
            "set -e" if step.printed is None else "set +e",
            step.command,
        ]
    return "\n".join([*words, f"exec >{folder}/end.out", ""])


@pytest.mark.engine
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("page", [page for page in PAGES if _runnable(page)], ids=name_of)
async def test_the_commands_of_a_page_do_what_it_says(page: Path, reader: Timeball, tmp_path: Path) -> None:
    """From its top to its end, in one shell, as a reader would type them."""
    if shutil.which("curl") is None:
        pytest.fail("needs curl on the path; install curl", pytrace=False)
    steps = _runnable(page)
    (tmp_path / "home").mkdir()
    shutil.copytree(ROOT / "deploy", tmp_path / "home" / "deploy")
    # Where the quickstart keeps its data, and where a daemon does that was told nothing.
    (tmp_path / "home" / ".timeball").mkdir()
    (tmp_path / "home" / ".timeball" / "data").symlink_to(reader.data_dir)
    (tmp_path / "home" / ".timeball" / "admin.token").symlink_to(reader.data_dir / "admin.token")

    ports = {shown: str(free_port()) for shown in PORTS}

    def here(text: str) -> str:
        for shown, port in ports.items():
            text = re.sub(rf"\b{shown}\b", port, text)
        return text.replace(DEFAULT_URL, reader.url).replace(IMAGE, reader.repository)

    program = tmp_path / "page.sh"
    program.write_text(here(_program(steps, tmp_path)), encoding="utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TIMEBALL_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "TIMEBALL_URL": reader.url,
        "TIMEBALL_DATA_DIR": str(reader.data_dir),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "COLUMNS": "120",
    }
    words = await asyncio.to_thread(_run, program, environment)
    await _clear(reader)
    for number, step in enumerate(steps):
        output = tmp_path / f"{number}.out"
        if not output.exists():
            pytest.fail(f"{steps[number - 1].block}: the shell ended ({words})", pytrace=False)
        printed = output.read_text(encoding="utf-8", errors="replace").replace(reader.url, DEFAULT_URL)
        printed = printed.replace(reader.repository, IMAGE)
        for shown, port in ports.items():
            printed = printed.replace(port, shown)
        is_last = not (tmp_path / f"{number + 1}.out").exists() and not (tmp_path / "end.out").exists()
        if is_last:
            pytest.fail(f"{step.block} failed:\n{step.command}\nprinted:\n{printed}", pytrace=False)
        if step.printed is not None and not is_as_shown(printed, step.printed):
            pytest.fail(
                f"{step.block}: {step.command}\nis shown to print:\n{step.printed}\nprinted:\n{printed}",
                pytrace=False,
            )


async def _clear(reader: Timeball) -> None:
    """Leave no job of this page to the next: a reader, too, does not read them all on one daemon."""
    while found := (await reader.get("/v1/jobs?page_size=100"))["results"]:
        for job in found:
            await reader.delete(f"/v1/jobs/{job['id']}")


def _run(program: Path, environment: Mapping[str, str]) -> str:
    """Run a shell to its end, or to that of its time, and whatever it started with it; its last words."""
    with subprocess.Popen(
        ["bash", str(program)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    ) as shell:
        try:
            return shell.communicate(timeout=PAGE_SECONDS)[0]
        except subprocess.TimeoutExpired:
            return f"it took more than {PAGE_SECONDS} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
