"""Whole worlds: the order of all events is drawn from a seed, and whatever the order, the promises hold."""

from __future__ import annotations

import pytest

from tests.simulation.conftest import Simulate
from tests.simulation.mutations import (
    FOUND_AT,
    MUTATIONS,
    ROOT,
    TRIED_ALWAYS,
    UNFOUND,
    Mutation,
    source_of,
    table,
)

#: How many seeds are tried for a planted defect before it counts as not found.
ENOUGH = 100


@pytest.mark.parametrize("first", range(0, 200, 25))
def test_two_hundred_worlds_keep_every_promise(simulate: Simulate, first: int) -> None:
    """If one fails, `python -m tests.simulation --seeds N --shrink` shows the smallest plan that fails."""
    done = simulate("--seeds", f"{first}-{first + 24}", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_ten_thousand_worlds_keep_every_promise(simulate: Simulate) -> None:
    """The same for many more seeds."""
    done = simulate("--seeds", "0-9999", "--jobs", "2")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_has_the_same_trace_each_time(simulate: Simulate) -> None:
    """Byte for byte, in another process."""
    first, second = (simulate("--seeds", "0-4", "--trace").stdout.splitlines()[:-1] for _ in range(2))
    assert len(first) > 100
    assert first == second


@pytest.mark.parametrize("mutation", [*MUTATIONS, *UNFOUND], ids=lambda mutation: mutation.name)
def test_a_planted_defect_changes_the_source(mutation: Mutation) -> None:
    """What it replaces occurs exactly once: otherwise, it would plant nothing, or something else."""
    for module, before, after in mutation.edits:
        assert source_of(module).count(before) == 1
        assert after != before


def test_the_manual_lists_the_planted_defects() -> None:
    """`tests.simulation.mutations.table` makes its table."""
    page = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("<!-- begin mutations -->\n")
    assert rest.partition("\n<!-- end mutations -->")[0].strip() == table()


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(mutation, marks=() if mutation.name in TRIED_ALWAYS else pytest.mark.slow)
        for mutation in MUTATIONS
    ],
    ids=lambda mutation: mutation.name,
)
def test_a_planted_defect_is_found(simulate: Simulate, mutation: Mutation) -> None:
    """Within a hundred seeds."""
    done = simulate(
        "--mutation", mutation.name, "--seeds", f"{FOUND_AT[mutation.name]}-{ENOUGH - 1}", "--until-found"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 with problems" in done.stdout
