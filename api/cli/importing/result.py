"""What reading another scheduler's file comes to: jobs, and notes of what is otherwise or not there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from api.cli.declaring.documents import Node

_SHOWN: Final = 60


class FormatError(Exception):
    """A file is not of the format that it was taken for.

    Attributes:
        line: where, if that is known.
    """

    def __init__(self, line: int | None, message: str) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Note:
    """What was not carried over, or not as it was.

    Attributes:
        line: of the file, counted from 1; None where it is about the whole file.
        text: what it is, and what to do.
        lost: whether a whole job is left out.
    """

    line: int | None
    text: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A job as `apply` takes it, with the line where it came from."""

    line: int | None
    fields: dict[str, Any]


@dataclass(slots=True)
class Imported:
    """What a file came to.

    Attributes:
        follows_wall_clock: whether some schedule depends on a zone that the file does not name.
        has_unsized: whether some job says nothing of memory and processors.
    """

    jobs: list[Found] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    follows_wall_clock: bool = False
    has_unsized: bool = False
    _said: set[str] = field(default_factory=set)
    _taken: set[tuple[str | None, str]] = field(default_factory=set)

    def note(self, line: int | None, text: str) -> None:
        """Say something of a line."""
        self.notes.append(Note(line, text))

    def note_once(self, text: str) -> None:
        """Say something of the whole file, unless it has been said."""
        if text not in self._said:
            self._said.add(text)
            self.note(None, text)

    def lose(self, line: int | None, text: str) -> None:
        """Say that a job is left out."""
        self.notes.append(Note(line, text, lost=True))

    def add(self, line: int | None, fields: dict[str, Any]) -> None:
        """Take a job, under a name that no other of its namespace has."""
        namespace, name, number = fields.get("namespace"), fields["name"], 1
        while (namespace, fields["name"]) in self._taken:
            number += 1
            fields["name"] = f"{name}-{number}"
        self._taken.add((namespace, fields["name"]))
        if number > 1:
            self.note(line, f"is called '{fields['name']}', as another job is called '{name}' already")
        self.jobs.append(Found(line, fields))


class Part:
    """A mapping of a file, of which everything has to be asked for, or set aside by name.

    Args:
        node: the mapping; anything else is noted and counts as empty.
        path: how it is called in notes, such as `spec.jobTemplate`; empty for the whole.
        result: where notes go.
        line: where it stands, if the node does not know.
    """

    def __init__(self, node: Node, path: str, result: Imported, line: int | None = None) -> None:
        self.line = line if line is not None else node.line
        self.path = path
        self._result = result
        self._node = node
        self._asked: set[str] = set()
        if not isinstance(node.value, dict):
            if node.value is not None:
                self.note("", "is no mapping and is not carried over")
            self._entries: dict[str, Node] = {}
        else:
            self._entries = node.value

    def __contains__(self, name: str) -> bool:
        return name in self._entries and self._entries[name].value is not None

    def names(self) -> list[str]:
        """All names in it."""
        return list(self._entries)

    def line_of(self, name: str) -> int | None:
        """Where an entry stands."""
        return self._node.lines.get(name) or self.line

    def note(self, name: str, text: str) -> None:
        """Say something of an entry, or with an empty name of the whole."""
        where = ".".join(part for part in (self.path, name) if part)
        self._result.note(self.line_of(name) if name else self.line, f"{where} {text}" if where else text)

    def node(self, name: str) -> Node:
        """An entry as it is; an empty one if there is none."""
        self._asked.add(name)
        return self._entries.get(name) or Node(self.line, None)

    def text(self, name: str, default: str | None = None) -> str | None:
        """An entry that is one word or line, as it is written."""
        node = self.node(name)
        if node.value is None:
            return default
        if (found := node.words()) is None:
            self.note(name, "is no text and is not carried over")
            return default
        return found

    def flag(self, name: str, *, default: bool = False) -> bool:
        """An entry that is true or false, in whatever way it is written."""
        text = self.text(name)
        if text is None:
            return default
        word = text.strip().lower()
        if word in {"true", "yes", "on", "1", "t", "y"}:
            return True
        if word in {"false", "no", "off", "0", "f", "n", ""}:
            return False
        self.note(name, f"is {text[:_SHOWN]!r}, neither true nor false, and is not carried over")
        return default

    def number(self, name: str) -> float | None:
        """An entry that is a number, in quotes or not."""
        text = self.text(name)
        if text is None:
            return None
        try:
            found = float(text)
        except ValueError:
            found = float("nan")
        if not abs(found) < 2**62:
            self.note(name, f"is {text[:_SHOWN]!r}, which is no number, and is not carried over")
            return None
        return found

    def whole(self, name: str, low: int, high: int) -> int | None:
        """A whole number, brought within what the API takes, with a note where that changes it."""
        found = self.number(name)
        if found is None:
            return None
        kept = min(max(int(found), low), high)
        if kept != found:
            self.note(name, f"is {found:g}; {kept} is the nearest that is possible here")
        return kept

    def items(self, name: str) -> list[Node]:
        """An entry that is a list."""
        node = self.node(name)
        if node.value is None:
            return []
        if not isinstance(node.value, list):
            self.note(name, "is no list and is not carried over")
            return []
        return list(node.value)

    def texts(self, name: str) -> list[str]:
        """An entry that is a list of words; a single word counts as one."""
        node = self.node(name)
        if node.words() is not None:
            return [str(node.words())]
        found = []
        for one in self.items(name):
            word = one.words()
            if word is None:
                self.note(name, "holds what is no text, which is not carried over")
            else:
                found.append(word)
        return found

    def part(self, name: str) -> Part:
        """An entry that is a mapping; an empty one if there is none."""
        node = self.node(name)
        return Part(node, f"{self.path}.{name}" if self.path else name, self._result, self.line_of(name))

    def parts(self, name: str) -> Iterator[Part]:
        """The mappings of an entry that is a list."""
        path = f"{self.path}.{name}" if self.path else name
        for number, node in enumerate(self.items(name)):
            yield Part(node, f"{path}[{number}]", self._result)

    def set_aside(self, names: Iterable[str]) -> None:
        """Entries that say nothing which would be missed."""
        self._asked.update(names)

    def close(self, hints: dict[str, str] | None = None) -> None:
        """Make a note of all that nobody has asked for.

        Args:
            hints: what to do instead, by name.
        """
        for name in self._entries:
            if name not in self._asked and not _is_empty(self._entries[name]):
                hint = (hints or {}).get(name)
                self.note(name, f"is not carried over{f': {hint}' if hint else ''}")


def _is_empty(node: Node) -> bool:
    return node.value is None or node.value is False or node.value in ({}, [], "")
