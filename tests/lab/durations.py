"""How long each test file takes, as measured once; distributed test runs start with the longest.

`deploy/test --record-durations` writes it anew. It changes the order alone: what it says may be old or wrong, and
every test is still run. A file that it does not know is thought to be long: a new one had better not begin last.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "tests" / "durations.json"
#: Seconds that a file takes that was never measured.
UNKNOWN_SECONDS = 20.0


def longest_first(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; each file's tests stay together and in their order."""
    known: dict[str, float] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}

    def place(item: pytest.Item) -> tuple[float, str]:
        file = item.nodeid.partition("::")[0]
        return -known.get(file, UNKNOWN_SECONDS), file

    items.sort(key=place)


def record(spent: Counter[str]) -> None:
    """Write down how many seconds files took, and forget files that are no more."""
    known: dict[str, float] = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    known |= {file: round(seconds, 1) for file, seconds in spent.items()}
    there = {file: known[file] for file in sorted(known) if (ROOT / file).exists()}
    RECORD.write_text(json.dumps(there, indent=0) + "\n", encoding="utf-8")
