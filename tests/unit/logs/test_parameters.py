"""The query parameters of a log: what each means, and what is said about those that mean nothing."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.schemas.lines import LineOut, json_lines
from api.schemas.logs import LogParameters
from api.schemas.logs import parse_log_parameters as parse
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.stream import Stream
from scheduler.logs.lines import Line

SECOND = 1451350945


def parse_log_parameters(query: dict[str, str]) -> LogParameters:
    """Those of one run's log."""
    return parse(query, LogParameters)


AT = datetime(2015, 12, 29, 1, 2, 25, tzinfo=UTC)


def refused(**query: str) -> FieldError:
    """The one thing wrong with a query."""
    with pytest.raises(InvalidInputError) as caught:
        parse_log_parameters(query)
    [error] = caught.value.errors
    return error


@pytest.mark.parametrize(
    ("text", "start_micros", "end_micros"),
    [
        ("1451350945", 0, 999_999),
        ("1451350945.0", 0, 0),
        ("1451350945.5", 500_000, 500_000),
        ("1451350945.123456", 123_456, 123_456),
        ("1451350945.1234560000000", 123_456, 123_456),
        ("1451350945.1234567", 123_457, 123_456),
        ("1451350945.9999999", 1_000_000, 999_999),
        ("0001451350945", 0, 999_999),
    ],
)
def test_seconds_are_whole_or_exact(text: str, start_micros: int, end_micros: int) -> None:
    """A whole second covers all of it; further digits round inward."""
    base = int(AT.timestamp()) * 1_000_000
    start = parse_log_parameters({"start_time": text}).query().start
    end = parse_log_parameters({"end_time": text}).query().end
    assert start is not None
    assert end is not None
    assert round(start.timestamp() * 1_000_000) == base + start_micros
    assert round(end.timestamp() * 1_000_000) == base + end_micros


def test_both_ends_of_time_are_accepted() -> None:
    """From 1970 to the last second that there is a date for."""
    query = parse_log_parameters({"start_time": "0", "end_time": "253402300799"}).query()
    assert query.start == datetime(1970, 1, 1, tzinfo=UTC)
    assert query.end == datetime.max.replace(tzinfo=UTC)
    assert parse_log_parameters({"start_time": "253402300799.9999999"}).query().start == query.end


@pytest.mark.parametrize("field", ["start_time", "end_time"])
@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("-1", "is negative", "such as 1451350945"),
        ("-0.5", "is negative", "such as 1451350945"),
        ("abc", "is not a number", "such as 1451350945"),
        ("nan", "is not a number", "such as 1451350945"),
        ("inf", "is not a number", "such as 1451350945"),
        ("1e9", "is not a number", "such as 1451350945"),
        ("+1", "is not a number", "such as 1451350945"),
        (" 1", "is not a number", "such as 1451350945"),
        ("1 ", "is not a number", "such as 1451350945"),
        ("1\n", "is not a number", "such as 1451350945"),
        ("1.", "is not a number", "such as 1451350945"),
        (".5", "is not a number", "such as 1451350945"),
        ("1_000", "is not a number", "such as 1451350945"),
        ("1,5", "is not a number", "such as 1451350945"),
        ("0x10", "is not a number", "such as 1451350945"),
        ("١٢٣", "is not a number", "such as 1451350945"),
        ("²", "is not a number", "such as 1451350945"),
        ("2015-12-29T01:02:25Z", "is a date", "such as 1451350945"),
        ("1451350945123", "looks like milliseconds", "divide by 1000: 1451350945.123"),
        ("1451350945000", "looks like milliseconds", "divide by 1000: 1451350945"),
        ("1451350945123.5", "looks like milliseconds", "divide by 1000: 1451350945.1235"),
        ("1451350945123456", "looks like microseconds", "divide by 1000000: 1451350945.123456"),
        ("1451350945123456789", "looks like nanoseconds", "1451350945.123456789"),
        ("253402300800", "later than the year 9999", "such as 1451350945"),
        ("9" * 5000, "later than the year 9999", "such as 1451350945"),
    ],
)
def test_a_time_that_means_nothing_is_refused(field: str, text: str, message: str, remedy: str) -> None:
    """With the field, the value and what to write."""
    error = refused(**{field: text})
    assert (error.field, error.value) == (field, text)
    assert message in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("start", "end"),
    [("2", "1"), ("2", "1.999999"), ("2.1", "2.0"), ("3", "2"), ("10", "9"), ("2.0000001", "2.0")],
)
def test_a_start_after_the_end_is_refused(start: str, end: str) -> None:
    """As given, not as rounded."""
    error = refused(start_time=start, end_time=end)
    assert (error.field, error.value) == ("start_time", start)
    assert error.message == f"is later than end_time={end}"


@pytest.mark.parametrize(
    ("start", "end"), [("2", "2"), ("2.9", "2"), ("2", "2.0"), ("2.0000001", "2.0000002"), ("1", "2")]
)
def test_a_start_within_the_last_second_is_accepted(start: str, end: str) -> None:
    """The end's whole second is in the range."""
    parse_log_parameters({"start_time": start, "end_time": end}).query()


@given(st.text(max_size=30) | st.decimals(allow_nan=True).map(str) | st.integers().map(str))
def test_any_text_is_a_time_or_refused_in_words(text: str) -> None:
    """Nothing else is ever raised."""
    for field in ("start_time", "end_time"):
        with suppress(InvalidInputError):
            parse_log_parameters({field: text}).query()


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "10001"),
        ("limit", "1.5"),
        ("limit", "٣"),
        ("limit", "9" * 5000),
        ("stream", "out"),
        ("stream", "stdout,,stderr"),
        ("stream", "STDOUT"),
        ("order", "down"),
        ("format", "xml"),
        ("cursor", "5"),
        ("tails", "5"),
        ("strean", "stdout"),
    ],
)
def test_other_parameters_that_mean_nothing_are_refused(field: str, text: str) -> None:
    """Each names itself and what to use."""
    error = refused(**{field: text})
    assert (error.field, error.value) == (field, text)
    assert error.remedy != "correct it"


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Nobody likes to be told one by one."""
    with pytest.raises(InvalidInputError) as caught:
        parse_log_parameters({"start_time": "x", "limit": "0", "order": "up"})
    assert {error.field for error in caught.value.errors} == {"start_time", "limit", "order"}


def test_streams_can_be_joined_by_commas() -> None:
    """One, several, or none given for all."""
    assert parse_log_parameters({}).query().streams is None
    found = parse_log_parameters({"stream": "stderr, system"}).query().streams
    assert found == frozenset({Stream.STDERR, Stream.SYSTEM})


@given(
    st.lists(
        st.builds(
            Line,
            st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
            st.sampled_from(Stream),
            st.binary(max_size=20) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
            st.just(0),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_line_in_json_says_all_of_it(lines: list[Line]) -> None:
    """Whatever was printed; invalid UTF-8 is replaced."""
    for line, text in zip(lines, json_lines(lines), strict=True):
        assert json.loads(text) == {
            "message": line.message.decode("utf-8", "replace"),
            "time": (line.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1),
            "stream": line.stream.label,
            "timestamp": line.at.isoformat(timespec="microseconds"),
        }
        assert LineOut.of_line(line).message == line.message.decode("utf-8", "replace")


def test_the_time_is_the_whole_second_before() -> None:
    """As the product that is answered like shows it."""
    line = Line(datetime(2015, 12, 28, 14, 31, 7, 639255, tzinfo=UTC), Stream.STDOUT, b"x", 0)
    assert json_lines([line]) == [
        '{"message":"x","time":1451313067,"stream":"stdout","timestamp":"2015-12-28T14:31:07.639255+00:00"}'
    ]


def test_a_thousand_lines_cost_little() -> None:
    """The order of the lines does not matter to what is shared between them."""
    chance = random.Random(3)  # noqa: S311 - repeatable lines are wanted
    moments = [datetime(2020, 1, 1, 0, 0, n, tzinfo=UTC) for n in range(3)]
    lines = [Line(chance.choice(moments), chance.choice(list(Stream)), b"%d" % n, n) for n in range(1000)]
    for line, text in zip(lines, json_lines(lines), strict=True):
        found = json.loads(text)
        assert (found["timestamp"], found["stream"]) == (
            line.at.isoformat(timespec="microseconds"),
            line.stream.label,
        )
