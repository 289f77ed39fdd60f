"""Tables for people: aligned whatever the script, and no wider than the terminal."""

from __future__ import annotations

import time

import pytest

from api.cli.tables import readable, table, width_of


def test_columns_are_aligned_under_wide_and_combining_characters() -> None:
    """A Chinese character takes two columns, an accent of its own none."""
    rows = [{"name": "每天备份", "state": "on"}, {"name": "e\u0301te\u0301", "state": "off"}]
    assert table(("name", "state"), rows).splitlines() == [
        "name      state",
        "每天备份  on",
        "e\u0301te\u0301       off",
    ]


def test_a_table_fits_its_place_and_keeps_ids_whole() -> None:
    """The widest text gives way and says so with '…'; what is missed least is left out before anything breaks."""
    rows = [{"id": "5" * 36, "name": "a" * 50, "image": "b" * 30, "state": "active"}]
    shown = table(("id", "name", "image", "state"), rows, spare=("image",), width=60)
    assert all(len(line) <= 60 for line in shown.splitlines())
    assert "5" * 36 in shown
    assert "image" not in shown
    assert "…" in shown
    assert "image" in table(("id", "name", "image", "state"), rows, spare=("image",), width=200)
    wide = table(("id", "name"), [{"id": 1, "name": "每" * 50}], width=21)
    assert [width_of(line) for line in wide.splitlines()][1] in (20, 21)
    assert len(table(("id", "name"), rows).splitlines()[1]) == 88


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (0, "0"),
        (["a", 1], '["a", 1]'),
        ("2026-01-31T12:00:00.000000+00:00", "2026-01-31 20:00:00"),
        ("2026-01-31T12:00:00Z and more", "2026-01-31T12:00:00Z and more"),
        ("\x1b[2Jgone\n\u202e", "�[2Jgone��"),
    ],
)
def test_values_are_readable_and_harmless(value: object, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moments on this machine's clock; whatever would steer a terminal is written out."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert readable(value) == shown
    finally:
        monkeypatch.undo()
        time.tzset()
