"""The daemon's own log: one line per event on standard error, for people or as JSON.

Everything from outside is escaped, so that nobody can forge a line or control the terminal of the reader.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict


class _Enduring:
    """A stream that drops what cannot be written, because a full disk must not stop the daemon."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop it."""
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop it."""
        with suppress(OSError):
            self._stream.flush()


def configure_logging(level: str, style: Literal["auto", "console", "json"]) -> None:
    """Set up structlog, and pass warnings of libraries.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        style: for people, for programs, or by whether the output is a terminal.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    for_people = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _escape_event,
    ]
    last: list[structlog.typing.Processor]
    if for_people:
        last = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_indented_traceback)
        ]
    else:
        last = [
            structlog.processors.format_exc_info,
            _escape_traceback,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Enduring(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(cast("TextIO", _Enduring(sys.stderr)))
    handler.setFormatter(_LibraryFormatter(as_json=not for_people))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def escaped(text: str) -> str:
    """The text on one line, with escapes for everything that would break a line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable()
        else character.encode("ascii", "backslashreplace").decode() if ord(character) > 0x7F
        # The codec has no escapes for the characters below.
        else f"\\x{ord(character):02x}"
        for character in text
    )  # fmt: skip


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {_escape(name): _escape(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escape(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else escaped(str(value))


def _escape_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: value if name == "exc_info" else _escape(value) for name, value in event.items()}


def _escape_traceback(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["exception"] = _escaped_lines(event["exception"])
    return event


def _escaped_lines(text: str) -> str:
    return "\n".join(escaped(line) for line in text.split("\n"))


def _indented_traceback(file: TextIO, trouble: structlog.typing.ExcInfo) -> None:
    """A traceback with every line indented, so that no line looks like an event."""
    file.write(
        "\n" + _indented(structlog.processors.format_exc_info(None, "", {"exc_info": trouble})["exception"])
    )


def _indented(text: str) -> str:
    return "\n".join("    " + escaped(line) for line in text.split("\n"))


class _LibraryFormatter(logging.Formatter):
    """Formats the messages of libraries like the daemon's own events."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by an indented traceback if lines are for people."""
        trouble = self.formatException(record.exc_info) if record.exc_info else None
        message, level = escaped(record.getMessage()), record.levelname.lower()
        if self._as_json:
            event = {"event": message, "logger": record.name, "level": level}
            return json.dumps(
                event | ({} if trouble is None else {"exception": _escaped_lines(trouble)}),
                ensure_ascii=False,
            )
        return f"{record.levelname} {record.name}: {message}" + (
            "" if trouble is None else "\n" + _indented(trouble)
        )
