"""The operator's settings: where they come from, how they are named, and how bad ones are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from api.cli.main import main
from scheduler.daemon import Daemon
from scheduler.domain.errors import SettingsError, UnavailableError
from scheduler.settings.parts import DOCKER_SOCKET
from scheduler.settings.settings import Settings, load_settings
from scheduler.store.database import Database
from tests.lab.fake_engine import FakeEngine


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the settings that the tests themselves run under."""
    for name in list(os.environ):
        if name.startswith("TIMEBALL_") or name == "DOCKER_HOST":
            monkeypatch.delenv(name)


GARBAGE = b"no database " * 2_000


def test_names_below_regions_and_sizes_keep_their_case(monkeypatch: pytest.MonkeyPatch):
    """A job names them as the operator wrote them."""
    monkeypatch.setenv("TIMEBALL_SIZES__HUGE__CPUS", "1")
    monkeypatch.setenv("TIMEBALL_SIZES__HUGE__MEMORY_MIB", "77")
    monkeypatch.setenv("TIMEBALL_SIZES__tiny", '{"cpus": 0.1, "memory_mib": 8}')
    monkeypatch.setenv("TIMEBALL_REGIONS__BEIJING1__URL", "unix:///var/run/docker.sock")
    settings = load_settings()
    assert set(settings.sizes) == {"HUGE", "tiny"}
    assert (settings.sizes["HUGE"].cpus, settings.sizes["HUGE"].memory_mib) == (1, 77)
    assert list(settings.all_regions()) == ["LOCAL", "BEIJING1"]


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """What is named below regions and sizes is put together from both."""
    config = tmp_path / "timeball.toml"
    config.write_text("host = 'file'\nport = 1\npids_limit = 7\n[sizes.A]\ncpus = 1\nmemory_mib = 8\n")
    monkeypatch.setenv("TIMEBALL_HOST", "environment")
    monkeypatch.setenv("TIMEBALL_PORT", "2")
    monkeypatch.setenv("TIMEBALL_SIZES", '{"B": {"cpus": 1, "memory_mib": 8}}')
    monkeypatch.setenv("TIMEBALL_SIZES__A__CPUS", "2")
    settings = load_settings(config, port=3)
    assert (settings.host, settings.port, settings.pids_limit) == ("environment", 3, 7)
    assert (settings.sizes["A"].cpus, settings.sizes["A"].memory_mib) == (2, 8)
    assert set(settings.sizes) == {"A", "B"}


@pytest.mark.parametrize("value", ["{bad", ""])
def test_a_value_that_is_not_json_is_refused_with_its_variable(monkeypatch: pytest.MonkeyPatch, value: str):
    """The command ends with status 2, and without a traceback."""
    monkeypatch.setenv("TIMEBALL_SIZES", value)
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    assert "TIMEBALL_SIZES is not valid JSON" in result.output


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("TIMEBALL_HOTS", "did you mean TIMEBALL_HOST?"),
        ("TIMEBALL_SIZE__HUGE__CPUS", "did you mean TIMEBALL_SIZES?"),
        ("TIMEBALL_PORT__X", "did you mean TIMEBALL_PORT?"),
        ("TIMEBALL_COLOUR_OF_THE_BALL", "use TIMEBALL_… with one of HOST, "),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, words: str
):
    """It would be without effect, and nobody would know."""
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"{variable} is not a setting" in str(caught.value)
    assert words in str(caught.value)


def test_variables_of_the_command_and_of_the_tests_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    """They have the same prefix, and other readers."""
    for name in (
        "URL",
        "TOKEN",
        "CONFIG",
        "LANGUAGE",
        "REQUIRE_ENGINE",
        "TEST_SEED",
        "TEST_PROCESSES",
        "FUZZ",
    ):
        monkeypatch.setenv(f"TIMEBALL_{name}", "1")
    assert load_settings().sizes == {}


def test_a_bad_docker_host_is_refused_by_that_name(monkeypatch: pytest.MonkeyPatch):
    """Unless a configured LOCAL stands instead of it; empty counts as not given."""
    monkeypatch.setenv("DOCKER_HOST", "nonsense")
    with pytest.raises(
        SettingsError, match=r"DOCKER_HOST is not the address of an engine \(got 'nonsense'\)"
    ):
        load_settings()
    monkeypatch.setenv("TIMEBALL_REGIONS__LOCAL__URL", "tcp://near:2375")
    assert load_settings().all_regions()["LOCAL"].url == "tcp://near:2375"
    monkeypatch.delenv("TIMEBALL_REGIONS__LOCAL__URL")
    monkeypatch.setenv("DOCKER_HOST", "")
    assert load_settings().all_regions()["LOCAL"].url == DOCKER_SOCKET


async def test_a_file_that_is_no_database_stops_the_start_with_a_remedy(tmp_path: Path):
    """The message names the file and says what to do with it."""
    (tmp_path / "timeball.db").write_bytes(GARBAGE)
    daemon = Daemon(Settings(data_dir=tmp_path))
    with pytest.raises(SettingsError, match="file is not a database") as caught:
        await daemon.start()
    await daemon.stop()
    assert str(tmp_path / "timeball.db") in str(caught.value)
    assert "restore a backup" in str(caught.value)


async def test_a_damaged_database_is_unavailable_and_a_refused_row_is_not(tmp_path: Path):
    """For reading and for writing; what was asked for wrongly is told as it is."""
    (tmp_path / "bad.db").write_bytes(GARBAGE)
    bad, good = Database(f"sqlite:///{tmp_path}/bad.db"), Database(f"sqlite:///{tmp_path}/good.db")
    ask = sa.text("SELECT 1")
    with pytest.raises(UnavailableError, match="file is not a database"):
        bad.migrate(lambda connection: connection.execute(ask))
    with pytest.raises(UnavailableError, match="file is not a database"):
        await bad.read(lambda connection: connection.execute(ask))
    with pytest.raises(UnavailableError, match="file is not a database"):
        await bad.write(lambda connection: connection.execute(ask))
    await good.write(lambda connection: connection.execute(sa.text("CREATE TABLE t (x NOT NULL)")))
    with pytest.raises(IntegrityError):
        await good.write(lambda connection: connection.execute(sa.text("INSERT INTO t VALUES (NULL)")))
    await bad.close()
    await good.close()


async def test_what_the_daemon_keeps_is_for_its_owner_alone(tmp_path: Path):
    """Also in a directory that others may read, which it leaves as it is and speaks of once."""
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(0o755)
    (data_dir / "notes.txt").touch(0o644)
    (data_dir / "timeball.db").touch()
    (data_dir / "admin.token").write_text("tbl_" + "mine" * 8)
    for name in ("timeball.db", "admin.token", "notes.txt"):
        (data_dir / name).chmod(0o644)
    before = os.umask(0o022)
    daemon = Daemon(
        Settings(data_dir=data_dir), make_engine=lambda _, installation: FakeEngine(installation=installation)
    )
    try:
        with capture_logs() as logs:
            await daemon.start()
        modes = {file.name: file.stat().st_mode & 0o777 for file in data_dir.iterdir()}
    finally:
        await daemon.stop()
        os.umask(before)
    assert modes.pop("notes.txt") == 0o644
    assert {"timeball.db", "timeball.db-wal", "admin.token", "instance", "daemon.lock"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert data_dir.stat().st_mode & 0o777 == 0o755
    assert [entry["event"] for entry in logs].count("data_dir.open_to_others") == 1


def test_a_region_is_as_patient_as_all_unless_it_says_otherwise(tmp_path: Path):
    """What it says itself counts, also where that is the default."""
    config = tmp_path / "timeball.toml"
    config.write_text(
        "engine_answer_seconds = 3\npull_stall_seconds = 7\npull_attempts = 9\n"
        "[regions.FAR]\nurl = 'tcp://far:2375'\npull_stall_seconds = 120\npull_attempts = 1\n"
    )
    regions = load_settings(config).all_regions()
    far, near = regions["FAR"], regions["LOCAL"]
    assert (far.engine_answer_seconds, far.pull_stall_seconds, far.pull_attempts) == (3, 120, 1)
    assert (near.engine_answer_seconds, near.pull_stall_seconds, near.pull_attempts) == (3, 7, 9)


@pytest.mark.parametrize("setting", ["engine_answer_seconds", "pull_attempts", "database_wait_seconds"])
def test_patience_of_nothing_is_refused(tmp_path: Path, setting: str):
    """By name and with the value."""
    config = tmp_path / "timeball.toml"
    config.write_text(f"{setting} = 0\n")
    with pytest.raises(SettingsError, match=rf"{setting}: .*got 0"):
        load_settings(config)
