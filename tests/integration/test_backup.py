"""A backup taken under load, restored elsewhere, and the daemon started on it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from docker.api.client import APIClient

from tests.integration.conftest import MakeTimeball
from tests.lab.timeball import ENDED, Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Prints numbers on both streams for some twenty seconds.
COUNTS = script(
    "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.1; done; printf end"
)


async def timeball_command(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user beside that daemon would, with its settings."""
    program = Path(sys.executable).with_name("timeball")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TIMEBALL_")}
    return await asyncio.to_thread(
        subprocess.run, [program, *words], capture_output=True, text=True, env=plain | more, check=False
    )


async def doctor(one: Timeball) -> dict[str, dict[str, object]]:
    """What the doctor finds of that daemon, by check; nothing of it is a problem."""
    config = one.data_dir.with_name(one.data_dir.name + ".toml")
    found = await timeball_command(
        "doctor", "--json", "--data-dir", one.data_dir, "--config", config,
        **({"TIMEBALL_URL": one._url} if one.is_running else {}),
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr
    findings = {finding["check"]: finding for finding in json.loads(found.stdout)["findings"]}
    assert all(set(f) == {"check", "status", "summary", "remedy", "details"} for f in findings.values())
    return findings


async def test_a_backup_under_load_is_restored_and_the_daemon_goes_on_from_it(
    make_timeball: MakeTimeball, engine_client: APIClient, tmp_path: Path
) -> None:
    """Runs, ledger and logs are there; nothing is doubled, stuck or left over."""
    before = await make_timeball()
    past, done = await before.run(script("echo early; exit 3"))
    counting = await before.create(COUNTS)
    going = [await before.trigger(counting) for _ in range(10)]
    planned = await before.create(
        script("echo planned"), schedule_mode="R//PT2S", is_schedule_active=True, misfire_policy="latest"
    )
    for run in going:
        await before.until_printed(counting, run, "out 3")
    await before.until_decided(planned, count=2)
    assert (await doctor(before))["daemon"]["status"] == "ok"

    token = (before.data_dir / "admin.token").read_text().strip()
    file = tmp_path / "backup.db"
    here = {"TIMEBALL_URL": before._url, "TIMEBALL_TOKEN": token, "HOME": str(tmp_path)}
    taken = await timeball_command("backup", file, "--json", **here)
    refused = await timeball_command("backup", file, **here)
    assert taken.returncode == 0, taken.stderr
    assert refused.returncode == 2
    assert file.stat().st_mode & 0o777 == 0o600
    taken_at = datetime.fromisoformat(json.loads(taken.stdout)["taken_at"])
    unknown = await before.trigger(counting)  # the backup does not know it
    await before.until_status(counting, unknown, "R", *ENDED)
    busy = await timeball_command("restore", file, "--data-dir", before.data_dir, "--force")
    assert busy.returncode == 1
    assert "A daemon is using" in busy.stderr
    await before.kill()

    after = await make_timeball()
    await after.terminate()
    for left in after.data_dir.iterdir():
        left.unlink()
    restored = await timeball_command("restore", file, "--data-dir", after.data_dir)
    assert restored.returncode == 0, restored.stderr
    assert (await doctor(after))["daemon"]["status"] == "warning"
    await after.start()

    runs = {run["id"]: run for run in await after.until_all_ended(counting, count=10)}
    assert set(runs) == set(going)
    assert {run["status"] for run in runs.values()} == {"S"}
    for run in going:
        for stream, word, last in (("stdout", "out", ["end"]), ("stderr", "err", [])):
            expected = [f"{word} {i}" for i in range(1, 201)] + last
            assert await after.lines(counting, run, stream) == expected
    assert (await after.exec(past, done["id"]))["exit_code"] == 3
    assert await after.lines(past, done["id"]) == ["early"]

    await after.until_up_to_date(planned)
    await after.switch_off(planned)
    await after.until_idle(planned)
    ledger = await after.ledger(planned)
    due = [datetime.fromisoformat(entry["due_at"]) for entry in ledger]
    assert len(set(due)) == len(due)
    assert all((b - a).total_seconds() == 2 for a, b in itertools.pairwise(due))
    assert any(moment > taken_at for moment in due)
    of_ledger = [entry["exec"] for entry in ledger if entry["outcome"] == "ran"]
    assert len(set(of_ledger)) == len(of_ledger)
    assert {run["id"] for run in await after.execs(planned)} == set(of_ledger)

    async def gone() -> bool:
        return not after.containers(engine_client)

    await until(gone)
    assert (await doctor(after))["orphans LOCAL"]["status"] == "ok"


async def test_retention_keeps_a_busy_daemons_newest_runs(make_timeball: MakeTimeball) -> None:
    """As many as the job says, with their logs; the ledger still names the others."""
    timeball = await make_timeball(config="retention_interval_seconds = 1")
    job = await timeball.create("echo kept", retention_count=2)
    runs = [await timeball.trigger(job) for _ in range(5)]
    left = await until(lambda: timeball.execs(job), lambda seen: len(seen) == 2)

    assert [run["id"] for run in left] == runs[-2:]
    assert await timeball.lines(job, runs[-1]) == ["kept"]
    _, figures = await timeball.send("GET", "/metrics")
    assert b'timeball_cleared_execs_total{reason="count"} 3.0' in figures
