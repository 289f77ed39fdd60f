"""Which lines are wanted for what they say: a plain text, a regular expression, terminal sequences left out.

Pure. Regular expressions are RE2's: their time grows with the line's length and nothing else, whatever the
pattern. How large a pattern may become and how much of a line it looks at is bounded besides, and matching lets
other threads go on meanwhile. What is looked at is what is shown as a message: the line without its ending, without
terminal sequences if those are left out, its last state where it was drawn anew, with U+FFFD for what is not UTF-8.
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

#: A longer text or pattern is refused.
LONGEST_TEXT: Final = 1_000
#: A pattern is matched against so much of a line's beginning.
MATCHED_BYTES: Final = 1024 * 1024
#: What a compiled pattern may take. The first bounds its size, and so the work for each byte; the second is
#: room for RE2's cache, without which it is slower.
_PATTERN_MEMORY: Final = 128 * 1024
_CACHE_MEMORY: Final = 8 * 1024 * 1024

#: Of these lines, the numbers of those that are wanted, out of some.
_Selects = Callable[[Sequence[bytes], Sequence[int]], Sequence[int]]
#: Patterns that mean the whole text's ends, or change how line ends are taken: not to be tried on many lines.
_ONE_LINE_ONLY: Final = re.compile(r"\\[AzQ]|\(\?[a-zA-Z]*-|\(\?[a-zA-Z]*[ms]")


def _each(matches: Callable[[bytes], Any]) -> _Selects:
    return lambda lines, numbers: [number for number in numbers if matches(lines[number])]


def _compile(pattern: str, *, ignore_case: bool, memory: int) -> Any:
    import re2  # noqa: PLC0415 - loaded with the first pattern that somebody asks for

    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.never_capture = True
    options.max_mem = memory
    return re2.compile(pattern, options)


def check_pattern(field: str, pattern: str) -> None:
    """Let pass a regular expression that RE2 takes.

    Raises:
        InvalidInputError: it is none, or becomes too large; the message says what is wrong and where.
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
            f"becomes too large to be matched safely ({words})",
            "repeat less, at most 1000 times in all, or search for a simpler part of it",
        )
    kind, _, part = words.partition(": ")
    at = _position(pattern, part)
    if words.startswith(("invalid perl operator", "invalid escape")):
        return (
            f"has something at character {at + 1} that is not supported: {part}",
            "leave out look-around, backreferences and the like; the syntax is RE2's",
        )
    return f"is not a regular expression: {kind} at character {at + 1}", "correct it; the syntax is RE2's"


def _position(pattern: str, part: str) -> int:
    """Where the mistake is, from 0. RE2 tells only the part that it stumbled over, Python's parser the place."""
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
    """Which lines are wanted, and how they are shown. Two that are equal let the same lines through.

    Attributes:
        contains: a text that a line must have.
        matches: a regular expression that must match somewhere in it; checked before by `check_pattern`.
        ignore_case: whether both take capital and small letters for the same.
        strip_ansi: leave out terminal sequences, and look at what is left.
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
        """Whether it does anything."""
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
                # Only where the sign for what is not UTF-8 is itself looked for do the bytes as they are not do.
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
        # Many lines are searched at once for where to look closer: a call for each takes longer than the search.
        rough = _compile(f"(?m:{pattern})", ignore_case=self.ignore_case, memory=_CACHE_MEMORY).search

        def select(lines: Sequence[bytes], numbers: Sequence[int]) -> list[int]:
            messages = [_message(lines[number])[:MATCHED_BYTES] for number in numbers]
            text = b"\n".join(messages)
            begins = list(accumulate((len(message) + 1 for message in messages), initial=0))
            found: list[int] = []
            at = 0
            while at < len(begins) - 1 and (match := rough(text, begins[at])) is not None:
                # What begins in this line may go on into the next, which is not meant; no line before it matches.
                at = bisect_right(begins, match.start(), at, len(begins) - 1) - 1
                if search(messages[at]):
                    found.append(numbers[at])
                at += 1
            return found

        return select

    def apply(self, runs: Iterable[FrameLines]) -> list[FrameLines]:
        """The wanted lines of these, as they are shown; what stands for damage is always wanted."""
        found: list[FrameLines] = []
        for run in runs:
            if is_damage(run):
                found.append(run)
                continue
            lines = [strip_ansi(line) for line in run.lines] if self.strip_ansi else run.lines
            if not self.selects:
                found.append(run._replace(lines=lines))
                continue
            kept: Sequence[int] = range(len(lines))
            for select in self._tests:
                kept = select(lines, kept)
            found += _grouped(run, lines, kept)
        return found


#: Lets everything through as it is.
ALL_LINES: Final = LineFilter()


def _grouped(run: FrameLines, lines: list[bytes], kept: Iterable[int]) -> Iterable[FrameLines]:
    """Runs of those lines that stand side by side."""
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
