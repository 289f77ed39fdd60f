"""What a run prints does to a terminal no more than it should."""

from __future__ import annotations

import pytest

from api.cli.printing import without_controls
from tests.lab.work import calls_of, processor_seconds


@pytest.mark.parametrize(
    ("line", "coloured", "plain"),
    [
        ("plain\ttext 你好", "plain\ttext 你好", "plain\ttext 你好"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38:2::1:2:3mleft on", "\x1b[38:2::1:2:3mleft on\x1b[0m", "left on"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab", "ab"),
        ("\x1b]0;never ends", "0;never ends", "0;never ends"),
        ("\x1b[2J\x1b[1;1Hgone\x1b[6n", "gone", "gone"),
        ("\x9b2Jx\x9d0;t\x9cy", "xy", "xy"),
        ("\x1bPq#\x1b\\a\x1bcb\x1b(0c\x07\x08\x00", "abc", "abc"),
        ("\x1b[31", "", ""),
        ("\x1b[?25l\x1b[>4;1mx", "x", "x"),
        ("over\rwritten", "overwritten", "overwritten"),
    ],
)
def test_a_terminal_gets_colours_and_nothing_else(line: str, coloured: str, plain: str) -> None:
    """No titles, no movements, no questions that it would answer by typing; files and pipes get text alone."""
    assert without_controls(line, colours=True) == coloured
    assert without_controls(line, colours=False) == plain


@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[", "\x1b[0", "\x9d", "\x1b]a\x1b", "\x1b "])
def test_a_hostile_line_takes_no_longer_than_another(piece: str) -> None:
    """The work is linear in its length; a million pieces that each looked at all behind it would take hours."""

    def calls(count: int) -> int:
        return calls_of(lambda: without_controls(piece * count, colours=True))

    assert calls(80_000) <= 10 * calls(8_000)
    with processor_seconds():
        without_controls(piece * 1_000_000, colours=True)
