"""Filters let through the lines that are asked for, as they are shown, and no pattern runs away."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.errors import InvalidInputError
from scheduler.domain.stream import Stream
from scheduler.logs import builder, reader, scanning
from scheduler.logs.filtering import LineFilter, check_pattern
from scheduler.logs.lines import FrameLines, position_of
from tests.unit.logs.scene import EXEC, LogScene

OUT, ERR = Stream.STDOUT, Stream.STDERR
#: Bytes to letters that patterns are about.
LETTERS = bytes(b"abX \xc3\xa9\r_"[number % 8] for number in range(256))


def kept(lines: list[bytes], **wanted: object) -> list[bytes]:
    """Those of the lines that a filter lets through."""
    runs = LineFilter(**wanted).apply([FrameLines(0, int(OUT), lines, position_of(3, 4))])  # type: ignore[arg-type]
    return [line for run in runs for line in run.lines]


@pytest.mark.parametrize(
    ("line", "wanted", "is_kept"),
    [
        (b"an error here\n", {"contains": "error"}, True),
        (b"an Error here\n", {"contains": "error"}, False),
        (b"an Error here\n", {"contains": "error", "ignore_case": True}, True),
        ("STRASSE ÄÖ\n".encode(), {"contains": "äö", "ignore_case": True}, True),
        (b"a.c\n", {"contains": "a.c", "ignore_case": True}, True),
        (b"abc\n", {"contains": "a.c", "ignore_case": True}, False),
        ("你好\n".encode(), {"contains": "好"}, True),
        (b"\xff end\n", {"contains": "\ufffd end"}, True),
        (b"10 %\r99 %\r\n", {"contains": "99 %"}, True),
        (b"10 %\r99 %\r\n", {"contains": "10 %"}, False),
        (b"code 404\r\n", {"matches": r"\d{3}$"}, True),
        (b"code 40\r\n", {"matches": r"\d{3}$"}, False),
        (b"Code 404\n", {"matches": "^code", "ignore_case": True}, True),
        (b"\xffcode\n", {"matches": "^.code$"}, True),
        (b"", {"matches": "^$"}, True),
        (b"an error, code 7\n", {"contains": "error", "matches": r"\d"}, True),
        (b"an error\n", {"contains": "error", "matches": r"\d"}, False),
        (b"\x1b[31mer\x1b[1mror\x1b[0m\n", {"contains": "error"}, False),
        (b"\x1b[31mer\x1b[1mror\x1b[0m\n", {"contains": "error", "strip_ansi": True}, True),
    ],
)
def test_a_line_is_looked_at_as_it_is_shown(line: bytes, wanted: dict[str, object], is_kept: bool) -> None:
    """Without its ending, with what is not UTF-8 replaced, without colours where those are left out."""
    assert bool(kept([line], **wanted)) is is_kept


def test_kept_lines_keep_their_places() -> None:
    """A cursor to one leads to the same line whatever is asked for."""
    lines = [b"%d\n" % n for n in range(100)]
    runs = LineFilter(contains="7").apply([FrameLines(5, int(ERR), lines, position_of(2, 1))])
    found = {run.position + n: line for run in runs for n, line in enumerate(run.lines)}
    assert found == {position_of(2, 1, n): b"%d\n" % n for n in range(100) if b"7" in b"%d" % n}
    assert {(run.at, run.stream) for run in runs} == {(5, int(ERR))}


@given(st.lists(st.text(st.sampled_from("ab(X"))), st.text(st.sampled_from("abX"), min_size=1))
def test_a_text_is_found_where_it_is(lines: list[str], text: str) -> None:
    """As Python finds it."""
    raw = [line.encode() for line in lines]
    assert kept(raw, contains=text) == [line for line in raw if text.encode() in line]
    assert kept(raw, contains=text, ignore_case=True) == [
        line for line in raw if text.lower().encode() in line.lower()
    ]


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*a){20}$", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_a_pattern_that_would_run_away_elsewhere_does_not(pattern: str) -> None:
    """Python's own engine would need longer than the universe has for some of these."""
    assert re.compile(pattern)
    assert kept([b"a" * 200_000 + b"!"], matches=pattern) == []


@pytest.mark.parametrize(
    ("pattern", "words", "remedy"),
    [
        ("(a", "missing ) at character 1", "fix it"),
        ("ab)", "at character 3", "fix it"),
        ("[a", "at character 1", "fix it"),
        ("a**", "at character", "fix it"),
        ("*a", "at character 1", "fix it"),
        ("ab[z-a]", "at character 4", "fix it"),
        ("a\\", "at character 2", "fix it"),
        ("x(?<=a)", "unsupported syntax at character 2", "look-around"),
        (r"(a)\1", "unsupported syntax at character 4", "backreferences"),
        ("a{1001}", "too large", "use fewer repetitions"),
        ("((a{100}){100}){100}", "too large", "use fewer repetitions"),
        (r"(\pL{300}){3}", "too large", "use fewer repetitions"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_place(pattern: str, words: str, remedy: str) -> None:
    """What is wrong, where, and what to do."""
    with pytest.raises(InvalidInputError) as caught:
        check_pattern("regex", pattern)
    [error] = caught.value.errors
    assert (error.field, error.value) == ("regex", pattern)
    assert words in error.message
    assert remedy in error.remedy


@given(st.text(max_size=50))
def test_no_pattern_breaks_the_check(pattern: str) -> None:
    """It is taken or refused."""
    try:
        check_pattern("regex", pattern)
    except InvalidInputError:
        return
    kept([b"some line\n"], matches=pattern)


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_filtered_read_is_the_same_as_filtering_what_was_read(scene: LogScene, order: str) -> None:
    """In both directions, with the last lines, and with a sequence cut by the end of a chunk."""
    log = await scene.hub.open(EXEC)
    for n in range(300):
        log.add(OUT, b"\x1b[3")
        if n % 7 == 0:
            await log.flush()
        log.add(OUT, b"1mline %d\x1b[0m\n" % n)
        log.add(ERR, b"noise %d\n" % n)
    wanted = LineFilter(matches="^line .*7$", strip_ansi=True)
    expected = [b"line %d\n" % n for n in range(300) if n % 10 == 7]
    found = [line.data for line in await scene.lines(order=order, filter=wanted)]
    assert found == (expected if order == "asc" else expected[::-1])
    assert [line.data for line in await scene.lines(tail=3, filter=wanted)] == expected[-3:]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_bounded_read_stops_and_goes_on(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Where its cursor says, until all has been looked through."""
    monkeypatch.setattr(reader, "SCAN_BYTES", 1_000)
    monkeypatch.setattr(scanning, "STEP_BYTES", 500)
    monkeypatch.setattr(builder, "CHUNK_BYTES", 100)
    log = await scene.hub.open(EXEC)
    for n in range(1_000):
        log.add(OUT, b"line %d\n" % n)
        await log.flush() if n % 10 == 0 else None
    cursor, found, reads = None, list[bytes](), 0
    while True:
        query = reader.LogQuery(
            order=order,  # type: ignore[arg-type]
            cursor=cursor,
            limit=10,
            filter=LineFilter(contains="99"),
            is_bounded=True,
        )
        read = scene.reader.read(EXEC, query)
        lines = [line async for batch in read for line in batch]
        found += [line.message for line in lines]
        reads += 1
        if read.is_complete:
            break
        cursor = read.cursor_of(lines[-1]) if len(lines) == 10 else read.frontier
    expected = [b"line %d" % n for n in range(1_000) if "99" in str(n)]
    assert found == (expected if order == "asc" else expected[::-1])
    assert reads > 3
