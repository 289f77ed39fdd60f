"""Filters lines by content: a plain text, a regular expression, with or without terminal sequences.

Pure. Regular expressions use RE2: their time only depends on the length of the line, whatever the pattern. The size
of a pattern and the part of a line that it is matched against are limited as well, and other threads can run during
matching. A filter examines what is shown as a message: the line without its ending, without terminal sequences if
they are removed, in its last state if it was redrawn, and with U+FFFD for bytes that are not UTF-8.
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.logs.ansi import strip_ansi
from scheduler.logs.lines import FrameLines, is_damage, shown

#: Maximum length of a text or pattern.
LONGEST_TEXT: Final = 1_000
#: Maximum number of bytes at the beginning of a line that a pattern is matched against.
MATCHED_BYTES: Final = 1024 * 1024
#: Memory of a compiled pattern. The first value limits its size, and so the work for each byte; the second includes
#: RE2's cache, without which it is slower.
_PATTERN_MEMORY: Final = 128 * 1024
_CACHE_MEMORY: Final = 8 * 1024 * 1024

#: Selects the numbers of matching lines from the given numbers.
_Selects = Callable[[Sequence[bytes], Sequence[int]], Sequence[int]]
#: Patterns that refer to the ends of the whole text, or change the treatment of line ends: not for several lines.
_ONE_LINE_ONLY: Final = re.compile(r"\\[AzQ]|\(\?[a-zA-Z]*-|\(\?[a-zA-Z]*[ms]")


def _each(matches: Callable[[bytes], Any]) -> _Selects:
    return lambda lines, numbers: [number for number in numbers if matches(lines[number])]


def _compile(pattern: str, *, ignore_case: bool, memory: int) -> Any:
    import re2  # noqa: PLC0415 - imported when a pattern is first used

    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.never_capture = True
    options.max_mem = memory
    return re2.compile(pattern, options)


def check_pattern(field: str, pattern: str) -> None:
    """Check that RE2 accepts a regular expression.

    Raises:
        InvalidInputError: it is invalid or too large; the message says what is wrong and where.
    """
    import re2  # noqa: PLC0415 - as in `_compile`

    try:
        _compile(pattern, ignore_case=False, memory=_PATTERN_MEMORY)
    except re2.error as error:
        raise InvalidInputError(FieldError(field, pattern, *_explained(pattern, error))) from error


def _explained(pattern: str, error: Exception) -> tuple[str, str]:
    reason = error.args[0] if error.args else b""
    words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    if "too large" in words or "repetition size" in words:
        return (
            f"is too large to be matched safely ({words})",
            "use fewer repetitions, at most 1000 in total, or search for a simpler part of it",
        )
    kind, _, part = words.partition(": ")
    at = _position(pattern, part)
    if words.startswith(("invalid perl operator", "invalid escape")):
        return (
            f"contains unsupported syntax at character {at + 1}: {part}",
            "remove look-around, backreferences and similar; use the syntax of RE2",
        )
    return (
        f"is not a valid regular expression: {kind} at character {at + 1}",
        "fix it, using the syntax of RE2",
    )


def _position(pattern: str, part: str) -> int:
    """The position of the error, from 0. RE2 only reports the part it cannot parse, Python's parser the place."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except re.error as error:
        if error.pos is not None:
            return error.pos
    except (OverflowError, RecursionError):
        pass
    return max(0, pattern.rfind(part))


@dataclass(frozen=True)
class LineFilter:
    """Which lines are shown, and how. Equal filters let the same lines through.

    Attributes:
        contains: a text that a line must contain.
        matches: a regular expression that must match somewhere in the line; checked before by `check_pattern`.
        ignore_case: whether both ignore case.
        strip_ansi: whether to remove terminal sequences before matching and showing.
    """

    contains: str | None = None
    matches: str | None = None
    ignore_case: bool = False
    strip_ansi: bool = False

    @property
    def selects(self) -> bool:
        """Whether it leaves out any lines."""
        return self.contains is not None or self.matches is not None

    def __bool__(self) -> bool:
        """Whether it has any effect."""
        return self.selects or self.strip_ansi

    @cached_property
    def _tests(self) -> list[_Selects]:
        tests: list[_Selects] = []
        if self.contains is not None:
            if self.ignore_case:
                import re2  # noqa: PLC0415 - as in `_compile`

                tests.append(self._searcher(re2.escape(self.contains)))
            else:
                wanted = self.contains.encode("utf-8", "replace")
                # Only if the replacement character itself is searched for, the raw bytes are not sufficient.
                if "\ufffd" in self.contains:
                    tests.append(_each(lambda line: wanted in _message(line)))
                else:
                    tests.append(
                        _each(lambda line: wanted in line and (b"\r" not in line or wanted in shown(line)))
                    )
        if self.matches is not None:
            tests.append(self._searcher(self.matches))
        return tests

    def _searcher(self, pattern: str) -> _Selects:
        search = _compile(pattern, ignore_case=self.ignore_case, memory=_CACHE_MEMORY).search

        def matches(line: bytes) -> Any:
            return search(_message(line)[:MATCHED_BYTES])

        if _ONE_LINE_ONLY.search(pattern):
            return _each(matches)
        # Many lines are searched at once to find candidates: a call per line takes longer than the search itself.
        rough = _compile(f"(?m:{pattern})", ignore_case=self.ignore_case, memory=_CACHE_MEMORY).search

        def select(lines: Sequence[bytes], numbers: Sequence[int]) -> list[int]:
            messages = [_message(lines[number])[:MATCHED_BYTES] for number in numbers]
            text = b"\n".join(messages)
            begins = list(accumulate((len(message) + 1 for message in messages), initial=0))
            matching: list[int] = []
            at = 0
            while at < len(begins) - 1 and (match := rough(text, begins[at])) is not None:
                # A match beginning in this line may extend into the next, which does not count; no line before it
                # matches.
                at = bisect_right(begins, match.start(), at, len(begins) - 1) - 1
                if search(messages[at]):
                    matching.append(numbers[at])
                at += 1
            return matching

        return select

    def apply(self, runs: Iterable[FrameLines]) -> list[FrameLines]:
        """The lines that pass the filter, as they are shown; placeholders for damage always pass."""
        passed: list[FrameLines] = []
        for group in runs:
            if is_damage(group):
                passed.append(group)
                continue
            lines = [strip_ansi(line) for line in group.lines] if self.strip_ansi else group.lines
            if not self.selects:
                passed.append(group._replace(lines=lines))
                continue
            kept: Sequence[int] = range(len(lines))
            for select in self._tests:
                kept = select(lines, kept)
            passed += _grouped(group, lines, kept)
        return passed


#: Lets all lines through unchanged.
ALL_LINES: Final = LineFilter()


def _grouped(run: FrameLines, lines: list[bytes], kept: Iterable[int]) -> Iterable[FrameLines]:
    """Groups of consecutive lines."""
    group: list[bytes] = []
    first = following = -1
    for number in kept:
        if number != following and group:
            yield run._replace(lines=group, position=run.position + first)
            group = []
        if not group:
            first = number
        group.append(lines[number])
        following = number + 1
    if group:
        yield run._replace(lines=group, position=run.position + first)


def _message(line: bytes) -> bytes:
    text = shown(line)
    return text if text.isascii() else text.decode("utf-8", "replace").encode()
