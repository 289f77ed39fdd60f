"""The checks of simulated worlds."""

from __future__ import annotations

import sqlite3

import pytest

from tests.simulation.checks import Witness
from tests.simulation.committed import FEW_RUNS, WHOLE_LOOK, Ledger


@pytest.fixture
def stored() -> sqlite3.Connection:
    """A database with many ended runs, and one that is open."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE TABLE execs (id, status, exit_code, fail_reason, started_at, ended_at, dispatched_at, cpus)"
    )
    connection.execute("CREATE TABLE occurrences (job_id, due_at, outcome, exec_id)")
    for number in range(FEW_RUNS + 1):
        connection.execute("INSERT INTO execs VALUES (?, 'S', 0, NULL, 1, 2, 1, 1.0)", (f"ended {number}",))
    connection.execute("INSERT INTO execs VALUES ('open', 'R', NULL, NULL, 1, NULL, 1, 1.0)")
    return connection


def test_a_short_look_sees_the_end_of_a_run_that_was_open(stored: sqlite3.Connection) -> None:
    """Although it is not among the open ones any more."""
    ledger = Ledger(Witness(), 4.0)
    assert len(ledger.look(stored, 1.0, is_synced=True)) == FEW_RUNS + 2
    assert ledger.look(stored, 1.0, is_synced=True) == []
    stored.execute("UPDATE execs SET status = 'F', exit_code = 3, ended_at = 9 WHERE id = 'open'")
    stored.execute("INSERT INTO execs VALUES ('new', 'W', NULL, NULL, NULL, NULL, NULL, 1.0)")
    assert sorted(ledger.look(stored, 1.0, is_synced=True)) == ["new waiting None None", "open failed 3 None"]


def test_what_changes_after_its_end_is_noticed_in_one_of_the_next_whole_looks(
    stored: sqlite3.Connection,
) -> None:
    """Most looks are not at it."""
    witness = Witness()
    ledger = Ledger(witness, 4.0)
    ledger.look(stored, 1.0, is_synced=True)
    stored.execute("UPDATE execs SET exit_code = 1 WHERE id = 'ended 7'")
    for _ in range(WHOLE_LOOK):
        ledger.look(stored, 1.0, is_synced=True)
    assert witness.problems == ["the end of run ended 7 was changed afterwards"]


def test_after_a_power_cut_only_what_was_synced_is_certain(stored: sqlite3.Connection) -> None:
    """A run may end in another way than it did before."""
    witness = Witness()
    ledger = Ledger(witness, 4.0)
    ledger.look(stored, 1.0, is_synced=True)
    stored.execute("UPDATE execs SET status = 'F', exit_code = 3, ended_at = 9 WHERE id = 'open'")
    ledger.look(stored, 2.0, is_synced=False)
    ledger.lose_power()
    stored.execute("UPDATE execs SET status = 'S', exit_code = 0, ended_at = 9 WHERE id = 'open'")
    assert ledger.look(stored, 3.0, is_synced=True) == ["open succeeded 0 None"]
    ledger.lose_power()
    stored.execute("UPDATE execs SET status = 'R', exit_code = NULL, ended_at = NULL WHERE id = 'open'")
    ledger.look(stored, 4.0, is_synced=True)
    assert witness.problems == ["run open changed from SUCCEEDED to RUNNING"]
