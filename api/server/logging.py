"""What the daemon says about itself: one line an event on standard error, for people or as JSON.

Whatever comes from outside is escaped, so that nobody can write a line that looks like one of ours, or steer the
terminal of whoever reads it.
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
    """A stream that drops what cannot be written: a full disk under the log must not end what is being logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose it."""
        with suppress(OSError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or lose it."""
        with suppress(OSError):
            self._stream.flush()


def configure_logging(level: str, style: Literal["auto", "console", "json"]) -> None:
    """Set up structlog, and let the libraries' warnings through.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        style: for people, for programs, or by whether a terminal listens.
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
    """A text on one line, with everything visible that would break a line or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("ascii", "backslashreplace").decode() if ord(one) > 0x7F
        # What is below has no letters of its own there.
        else f"\\x{ord(one):02x}"
        for one in text
    )  # fmt: skip


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {_escape(name): _escape(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_escape(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else escaped(str(value))


def _escape_event(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: one if name == "exc_info" else _escape(one) for name, one in event.items()}


def _escape_traceback(_logger: Any, _method: str, event: EventDict) -> EventDict:
    if "exception" in event:
        event["exception"] = _escaped_lines(event["exception"])
    return event


def _escaped_lines(text: str) -> str:
    return "\n".join(escaped(line) for line in text.split("\n"))


def _indented_traceback(file: TextIO, trouble: structlog.typing.ExcInfo) -> None:
    """A traceback whose every line is indented: none can be taken for an event."""
    file.write(
        "\n" + _indented(structlog.processors.format_exc_info(None, "", {"exc_info": trouble})["exception"])
    )


def _indented(text: str) -> str:
    return "\n".join("    " + escaped(line) for line in text.split("\n"))


class _LibraryFormatter(logging.Formatter):
    """What libraries report, in the form of our own lines."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """One line, and an indented traceback where lines are for people."""
        trouble = self.formatException(record.exc_info) if record.exc_info else None
        message, level = escaped(record.getMessage()), record.levelname.lower()
        if self._as_json:
            found = {"event": message, "logger": record.name, "level": level}
            return json.dumps(
                found | ({} if trouble is None else {"exception": _escaped_lines(trouble)}),
                ensure_ascii=False,
            )
        return f"{record.levelname} {record.name}: {message}" + (
            "" if trouble is None else "\n" + _indented(trouble)
        )
