"""The result of importing a file: jobs, and notes on what differs or is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from api.cli.declaring.documents import Node

_SHOWN: Final = 60


class FormatError(Exception):
    """A file does not have the expected format.

    Attributes:
        line: the line, if known.
    """

    def __init__(self, line: int | None, message: str) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was not imported, or was changed.

    Attributes:
        line: the line in the file, counted from 1; None if it is about the whole file.
        text: what it is, and what to do.
        lost: whether a whole job is skipped.
    """

    line: int | None
    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A job as `apply` reads it, with its line in the imported file."""

    line: int | None
    fields: dict[str, Any]


@dataclass(slots=True)
class Imported:
    """The jobs and notes of a file.

    Attributes:
        follows_wall_clock: whether a schedule depends on a time zone that the file does not name.
        has_unsized: whether a job has no memory or CPU limits.
    """

    jobs: list[Found] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    follows_wall_clock: bool = False
    has_unsized: bool = False
    _said: set[str] = field(default_factory=set)
    _taken: set[tuple[str | None, str]] = field(default_factory=set)

    def note(self, line: int | None, text: str) -> None:
        """Add a note on a line."""
        self.notes.append(Note(line, text))

    def note_once(self, text: str) -> None:
        """Add a note on the whole file, unless it already exists."""
        if text not in self._said:
            self._said.add(text)
            self.note(None, text)

    def lose(self, line: int | None, text: str) -> None:
        """Add a note that a job is skipped."""
        self.notes.append(Note(line, text, lost=True))

    def add(self, line: int | None, fields: dict[str, Any]) -> None:
        """Add a job, renamed if another job in its namespace has the same name."""
        namespace, name, number = fields.get("namespace"), fields["name"], 1
        while (namespace, fields["name"]) in self._taken:
            number += 1
            fields["name"] = f"{name}-{number}"
        self._taken.add((namespace, fields["name"]))
        if number > 1:
            self.note(line, f"is named '{fields['name']}' because another job is already named '{name}'")
        self.jobs.append(Found(line, fields))


class Part:
    """A mapping in a file that tracks which of its entries have been read.

    Args:
        node: the mapping; any other value gets a note and counts as empty.
        path: its name in notes, such as `spec.jobTemplate`; empty for the root.
        result: the result that gets the notes.
        line: its line, if the node does not have one.
    """

    def __init__(self, node: Node, path: str, result: Imported, line: int | None = None) -> None:
        self.line = line if line is not None else node.line
        self.path = path
        self._result = result
        self._node = node
        self._asked: set[str] = set()
        if not isinstance(node.value, dict):
            if node.value is not None:
                self.note("", "is not a mapping and is not imported")
            self._entries: dict[str, Node] = {}
        else:
            self._entries = node.value

    def __contains__(self, name: str) -> bool:
        return name in self._entries and self._entries[name].value is not None

    def names(self) -> list[str]:
        """All names in the mapping."""
        return list(self._entries)

    def line_of(self, name: str) -> int | None:
        """The line of an entry."""
        return self._node.lines.get(name) or self.line

    def note(self, name: str, text: str) -> None:
        """Add a note on an entry, or on the whole mapping if the name is empty."""
        where = ".".join(part for part in (self.path, name) if part)
        self._result.note(self.line_of(name) if name else self.line, f"{where} {text}" if where else text)

    def node(self, name: str) -> Node:
        """An entry as it is, or an empty node."""
        self._asked.add(name)
        return self._entries.get(name) or Node(self.line, None)

    def text(self, name: str, default: str | None = None) -> str | None:
        """An entry that is text, as written."""
        node = self.node(name)
        if node.value is None:
            return default
        if (found := node.words()) is None:
            self.note(name, "is not text and is not imported")
            return default
        return found

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An entry that is true or false, in any common spelling."""
        text = self.text(name)
        if text is None:
            return default
        word = text.strip().lower()
        if word in {"true", "yes", "on", "1", "t", "y"}:
            return True
        if word in {"false", "no", "off", "0", "f", "n", ""}:
            return False
        self.note(name, f"is {text[:_SHOWN]!r}, which is neither true nor false, and is not imported")
        return default

    def number(self, name: str) -> float | None:
        """An entry that is a number, quoted or not."""
        text = self.text(name)
        if text is None:
            return None
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not abs(found) < 2**62:
            self.note(name, f"is {text[:_SHOWN]!r}, which is not a number, and is not imported")
            return None
        return found

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number, limited to the range of the API, with a note if that changes it."""
        found = self.number(name)
        if found is None:
            return None
        kept = min(max(int(found), low), high)
        if kept != found:
            self.note(name, f"is {found:g}, which is not allowed; {kept} is used instead")
        return kept

    def items(self, name: str) -> list[Node]:
        """An entry that is a list."""
        node = self.node(name)
        if node.value is None:
            return []
        if not isinstance(node.value, list):
            self.note(name, "is not a list and is not imported")
            return []
        return list(node.value)

    def texts(self, name: str) -> list[str]:
        """An entry that is a list of words, or a single word."""
        node = self.node(name)
        if node.words() is not None:
            return [str(node.words())]
        found = []
        for item in self.items(name):
            word = item.words()
            if word is None:
                self.note(name, "contains an item that is not text and is not imported")
            else:
                found.append(word)
        return found

    def part(self, name: str) -> Part:
        """An entry that is a mapping, or an empty mapping."""
        node = self.node(name)
        return Part(node, f"{self.path}.{name}" if self.path else name, self._result, self.line_of(name))

    def parts(self, name: str) -> Iterator[Part]:
        """The mappings in an entry that is a list."""
        path = f"{self.path}.{name}" if self.path else name
        for number, node in enumerate(self.items(name)):
            yield Part(node, f"{path}[{number}]", self._result)

    def set_aside(self, names: Iterable[str]) -> None:
        """Ignore entries that need no note."""
        self._asked.update(names)

    def close(self, hints: dict[str, str] | None = None) -> None:
        """Add a note on every entry that has not been read.

        Args:
            hints: what to do instead, by name.
        """
        for name in self._entries:
            if name not in self._asked and not _is_empty(self._entries[name]):
                hint = (hints or {}).get(name)
                self.note(name, f"is not imported{f': {hint}' if hint else ''}")


def _is_empty(node: Node) -> bool:
    return node.value is None or node.value is False or node.value in ({}, [], "")
