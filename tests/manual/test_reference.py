"""The reference says what the code does: it is compared, and written by what is compared."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from scheduler.domain.execution import ExecStatus, FailReason, Outcome, TriggerMode
from scheduler.domain.job import ConcurrencyPolicy, MisfirePolicy
from tests.manual.pages import ROOT, with_part
from tests.manual.reference import PARTS


@pytest.mark.parametrize("name", PARTS)
def test_the_reference_is_what_the_code_says(name: str) -> None:
    """Write it anew with `python -m tests.manual.reference`."""
    page, render = PARTS[name]
    text = page.read_text(encoding="utf-8")
    assert with_part(text, name, render()) == text, "run .venv/bin/python -m tests.manual.reference"


@pytest.mark.parametrize(
    ("page", "values"),
    [
        ("docs/reference/endings.md", ExecStatus),
        ("docs/reference/endings.md", FailReason),
        ("docs/reference/endings.md", TriggerMode),
        ("docs/reference/endings.md", Outcome),
        ("docs/howto/schedules.md", ConcurrencyPolicy),
        ("docs/howto/schedules.md", MisfirePolicy),
    ],
)
def test_every_word_that_clients_meet_is_explained(page: str, values: type[StrEnum]) -> None:
    """In a table, with something said of each."""
    text = (ROOT / page).read_text(encoding="utf-8")
    explained = re.findall(r"^\| `([^`]+)` \| *[^ |]", text, re.MULTILINE)
    assert [value for value in values if value.value not in explained] == []
