"""Timeball refuses to start where another project's `scheduler` or `api` would be imported in place of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scheduler.store.database import Database
from scheduler.store.migrate import HEAD, migrate

PROGRAM = Path(sys.executable).with_name("timeball")
ROOT = Path(__file__).parents[3]
ENTRY = ROOT / "deploy" / "entry" / "timeball"
#: Code of another project, which must not be executed.
FOREIGN = "print('executed')\n"


def foreign(folder: Path, *names: str, as_module: bool = False) -> Path:
    """Another project's folder with packages, or modules, of these names."""
    for name in names:
        file = folder / f"{name}.py" if as_module else folder / name / "__init__.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(FOREIGN)
    return folder


def called(
    *command: str | Path, cwd: Path, pythonpath: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """What a command prints, and its exit status."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if pythonpath:
        environment["PYTHONPATH"] = os.pathsep.join(map(str, pythonpath))
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.mark.parametrize("as_module", [False, True])
@pytest.mark.parametrize("names", [("api",), ("scheduler",), ("scheduler", "api")])
def test_packages_on_pythonpath_are_named_and_not_executed(
    names: tuple[str, ...], as_module: bool, tmp_path: Path
) -> None:
    """The message says which file is in the way, and how to get rid of it."""
    folder = foreign(tmp_path / "theirs", *names, as_module=as_module)
    for command in ([PROGRAM, "version"], [sys.executable, "-m", "timeball", "version"]):
        done = called(*command, cwd=tmp_path, pythonpath=[folder])
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"timeball: '{names[0]}' is {folder / names[0]}")
        assert done.stderr.endswith(f"Remove {folder} from PYTHONPATH.\n")


def test_a_module_in_the_current_directory_matters_only_to_python_m(tmp_path: Path) -> None:
    """The command does not look there."""
    foreign(tmp_path, "scheduler", as_module=True)
    assert called(PROGRAM, "version", "-q", cwd=tmp_path).returncode == 0
    done = called(sys.executable, "-m", "timeball", "version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Use the command 'timeball' instead of 'python -m timeball'" in done.stderr


def test_a_folder_without_code_hides_nothing(tmp_path: Path) -> None:
    """A package that is one comes before a folder that merely has its name."""
    site = tmp_path / "site"
    shutil.copytree(ENTRY, site / "timeball")
    for name in ("scheduler", "api"):
        (site / name).symlink_to(ROOT / name)
    (tmp_path / "theirs" / "api").mkdir(parents=True)
    command = [sys.executable, "-m", "timeball", "version", "-q"]
    assert called(*command, cwd=tmp_path, pythonpath=[tmp_path / "theirs", site]).returncode == 0


def test_packages_that_another_distribution_has_overwritten_are_noticed(tmp_path: Path) -> None:
    """No installer prevents this, and the files then lie where Timeball's are expected."""
    shutil.copytree(ENTRY, tmp_path / "timeball")
    foreign(tmp_path, "scheduler", "api")
    done = called(sys.executable, "-m", "timeball", "version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Another distribution has overwritten Timeball's package 'scheduler'" in done.stderr
    assert "environment of its own" in done.stderr


def test_an_incomplete_installation_is_noticed(tmp_path: Path) -> None:
    """For example after another distribution with these packages was removed."""
    shutil.copytree(ENTRY, tmp_path / "timeball")
    done = called(sys.executable, "-m", "timeball", "version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'scheduler' of Timeball is missing" in done.stderr


async def test_a_database_is_migrated_in_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that migrates does not import from the current directory."""
    monkeypatch.chdir(foreign(tmp_path, "scheduler", "api", as_module=True))
    database = Database(f"sqlite:///{tmp_path / 'timeball.db'}")
    migrate(database)
    found = await database.read(
        lambda connection: connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    )
    await database.close()
    assert found == HEAD
