"""Terminal sequences are taken out, text never is, and it takes no longer than the line is long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.logs.ansi import strip_ansi


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain\n", b"plain\n"),
        (b"\x1b[31mred\x1b[0m\n", b"red\n"),
        (b"\x1b[1;38;2;10;20;30mtrue colour\x1b[m\r\n", b"true colour\r\n"),
        ("你\x1b[4m好\x1b[24m".encode(), "你好".encode()),
        (b"\x1b[?25l\x1b[2K50 %\x1b[?25h", b"50 %"),
        (b"\x1b]0;a title\x07text", b"text"),
        (b"\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\ end", b"link end"),
        (b"\x1bPq#0;2;0;0;0\x1b\\picture", b"picture"),
        (b"\x1b_command\x1b\\x\x1b^private\x1b\\y", b"xy"),
        (b"\x1b(B\x1b7saved\x1b8\x1bM\x1b=", b"saved"),
        ("\x9b31mred\x9b0m".encode(), b"red"),
        (b"\x9b31mred\x9b0m", b"red"),
        ("\x9d0;title\x9ctext\x85".encode(), b"text"),
        (b"cut \x1b[38;5", b"cut "),
        (b"cut \x1b", b"cut "),
        (b"\x1b]0;never ends", b"0;never ends"),
        (b"\x1b\x1b[31mtwice", b"twice"),
        (b"\xff\x93quoted\x94 \x80", b"\xff\x93quoted\x94 \x80"),
        ("é ü 你 😀".encode(), "é ü 你 😀".encode()),
    ],
)
def test_what_a_terminal_would_not_show_is_left_out(line: bytes, shown: bytes) -> None:
    """And nothing else."""
    assert strip_ansi(line) == shown


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])))
def test_text_without_control_characters_stays_as_it_is(text: str) -> None:
    """Whatever the language."""
    assert strip_ansi(text.encode()) == text.encode()


@pytest.mark.parametrize("piece", [b"\x1b]", b"\xc2\x9d", b"\x1b[0", b"\x1b  ", b"\x1bP\xc2", b"\x9b0 "])
def test_many_beginnings_without_an_end_take_no_time(piece: bytes) -> None:
    """A quadratic search would take hours for this."""
    assert len(strip_ansi(piece * 300_000)) <= len(piece) * 300_000
