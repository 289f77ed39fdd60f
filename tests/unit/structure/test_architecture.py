"""The rooms of the code, and the pages that describe them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scheduler.domain.execution import FINAL_STATUSES, TRANSITIONS, ExecStatus

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
    "contracts"
]
[LAYERS] = [contract["layers"] for contract in CONTRACTS if contract["type"] == "layers"]
#: Modules that are rooms of their own.
ALONE = {"scheduler.daemon", "scheduler.service", "api.client", "api.wording"}


def part(name: str) -> str:
    """A generated part of the page."""
    found = re.search(rf"<!-- begin {name} -->\n```\w*\n(.*?)```\n<!-- end {name} -->", PAGE, re.DOTALL)
    assert found is not None, f"docs/architecture.md has no part {name}"
    return found[1]


def packages() -> set[str]:
    """All packages below the two roots."""
    return {
        path.parent.relative_to(ROOT).as_posix()
        for root in ("scheduler", "api")
        for path in (ROOT / root).rglob("__init__.py")
    }


def test_every_module_is_in_a_room_of_the_layers_contract():
    """A room outside the contract could import anything, and be imported by anything."""
    named = {room for layer in LAYERS for room in re.split(r" [|:] ", layer)}
    rooms = {
        f"{root}.{path.stem}"
        for root in ("scheduler", "api")
        for path in (ROOT / root).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"scheduler.__init__", "api.__init__"}
    assert named == rooms
    assert {room for room in rooms if (ROOT / f"{room.replace('.', '/')}.py").exists()} == ALONE


def test_contributing_names_every_room():
    """A newcomer finds the room for a change in the table."""
    table = set(re.findall(r"^\| `([\w/]+)/` \|", CONTRIBUTING, re.MULTILINE))
    missing = packages() - table - {"scheduler/store/migrations/versions"}
    assert not missing, f"CONTRIBUTING's table of rooms has no line for {sorted(missing)}"
    gone = {room for room in table if not (ROOT / room).is_dir()}
    assert not gone, f"CONTRIBUTING's table names rooms that do not exist: {sorted(gone)}"


def test_the_page_shows_the_layers_of_the_contract():
    """In their order."""
    assert part("layers").split("\n")[:-1] == LAYERS


def test_the_page_draws_the_transitions_of_the_table():
    """All of them, and no others."""
    drawn = set(re.findall(r"(\[\*\]|\w+) --> (\[\*\]|\w+)", part("states")))
    table = {(before.name, after.name) for before, ends in TRANSITIONS.items() for after in ends}
    ends = {(status.name, "[*]") for status in FINAL_STATUSES}
    assert drawn == table | ends | {("[*]", ExecStatus.WAITING.name)}


def test_files_that_the_page_names_exist():
    """A path that is wrong costs a newcomer more than none."""
    for path in re.findall(r"`((?:scheduler|api|tests)/[\w/.]+)`", PAGE):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("scheduler/logs/limit.py", "scheduler.running.tasks"),
        ("scheduler/running/tasks.py", "scheduler.usecases.parts"),
        ("scheduler/planning/abandon.py", "scheduler.usecases.parts"),
    ],
)
def test_an_import_against_the_flow_breaks_the_contract(tmp_path: Path, module: str, imported: str):
    """Shown on a copy of the code with one import too many."""
    for root in ("scheduler", "api"):
        for path in (ROOT / root).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    with (tmp_path / module).open("a", encoding="utf-8") as file:
        file.write(f"\nimport {imported}  # noqa\n")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
    room = ".".join(Path(module).parts[:2])
    assert f"{room} is not allowed to import {'.'.join(imported.split('.')[:2])}" in done.stdout
