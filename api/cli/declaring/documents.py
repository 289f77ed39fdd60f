"""Reads YAML and JSON into trees that know on which line each value stands. Pure.

Plain words mean what they mean in JSON: `true`, `false`, `null` and JSON's numbers are that, and all else is text. So
`yes`, `12:30`, `0123`, `0x1f` and `2026-01-31` stay as they are written, which YAML 1.1 would turn into something
else. Tags other than those of JSON's types are refused, aliases are followed within bounds, and a name that comes
twice in a mapping is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

#: Values in one text, aliases counted in full: many more than any sensible file, and few enough to hold.
MOST_VALUES: Final = 2_000_000
DEEPEST: Final = 60
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
#: What breaks lines in YAML, and is a character like any other in JSON.
_BREAKS: Final = re.compile("[\x85\u2028\u2029]")
_WORDS: Final = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "~": None,
    "": None,
}
_TAGS: Final = {"str", "int", "float", "bool", "null", "seq", "map"}
_PREFIX: Final = "tag:yaml.org,2002:"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(Exception):
    """A text cannot be read.

    Attributes:
        line: where, counted from 1; None where nobody knows.
        message: what is wrong, and what to do.
    """

    def __init__(self, line: int | None, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(message)


@dataclass(slots=True)
class Node:
    """A value with its place.

    Attributes:
        line: where it begins, counted from 1; None if its text gave no places.
        value: None, a bool, int, float or str; a list of nodes; or a mapping of names to nodes.
        text: a plain scalar as it is written, `1.10` for instance.
        size: how many values it holds, itself included.
        lines: of a mapping's names.
    """

    line: int | None
    value: Any
    text: str | None = None
    size: int = 1
    lines: dict[str, int | None] = field(default_factory=dict)

    def plain(self) -> Any:
        """The data without their places."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def words(self) -> str | None:
        """A scalar as text, just as it is written; None for null, lists and mappings."""
        if isinstance(self.value, str):
            return self.value
        if self.value is None or isinstance(self.value, list | dict):
            return None
        return self.text if self.text is not None else json.dumps(self.value)

    def at(self, path: str) -> tuple[Node, int | None]:
        """What a dotted path such as `runtime_vars.MODE` leads to, as far as it goes, and its line."""
        node, line = self, self.line
        while path:
            found = None
            if isinstance(node.value, dict):
                found = next((n for n in node.value if path == n or path.startswith(f"{n}.")), None)
                if found is not None:
                    node, line = node.value[found], node.lines.get(found, line)
            elif isinstance(node.value, list):
                found, _, _ = path.partition(".")
                if not found.isdecimal() or int(found) >= len(node.value):
                    break
                node = node.value[int(found)]
                line = node.line
            if found is None:
                break
            path = path[len(found) + 1 :]
        return node, line


def decoded(raw: bytes) -> str:
    """The text of a file.

    Raises:
        DocumentError: it is not UTF-8, or holds NUL characters.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            line, f"byte {raw[error.start]:#04x} is not UTF-8: save the file in UTF-8"
        ) from error
    if "\x00" in text:
        raise DocumentError(text.count("\n", 0, text.index("\x00")) + 1, "holds a NUL character: remove it")
    return text


def read_documents(text: str) -> list[Node]:
    """The documents of a YAML or JSON text; empty ones are left out.

    Raises:
        DocumentError: it is neither, or holds what is refused.
    """
    may_be_json = text.lstrip().startswith(("{", "["))
    if may_be_json and _BREAKS.search(text) and (found := _read_json(text)) is not None:
        return [found]
    try:
        return [one for one in _Builder().documents(text) if one.value is not None]
    except DocumentError:
        # What JSON writes otherwise than YAML, such as tabs before a value, and pairs of surrogates.
        if may_be_json and (found := _read_json(text)) is not None:
            return [found]
        raise


class _Builder:
    """Makes nodes of YAML's events, one document after the other, without recursion."""

    def __init__(self) -> None:
        self._anchors: dict[str, Node | None] = {}

    def documents(self, text: str) -> Iterator[Node]:
        """Every document, the empty ones too."""
        roots: list[Node] = []
        stack: list[tuple[Node, str | None, list[Node]]] = []
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                line = event.start_mark.line + 1
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors = {}
                elif isinstance(event, yaml.AliasEvent):
                    self._place(self._aliased(event.anchor, line), stack, roots)
                elif isinstance(event, yaml.ScalarEvent):
                    node = _scalar(event, line)
                    self._name(event.anchor, node)
                    self._place(node, stack, roots)
                elif isinstance(event, yaml.CollectionStartEvent):
                    if len(stack) >= DEEPEST:
                        raise DocumentError(line, f"is nested deeper than {DEEPEST} levels: flatten it")
                    kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
                    _check_tag(event.tag, line, (kind,))
                    if event.anchor is not None:
                        self._anchors[event.anchor] = None  # known, and not yet whole
                    stack.append((Node(line, kind), event.anchor, []))
                elif isinstance(event, yaml.CollectionEndEvent):
                    node, anchor, parts = stack.pop()
                    _close(node, parts)
                    self._name(anchor, node)
                    self._place(node, stack, roots)
        except yaml.YAMLError as error:
            raise _explained(error) from error
        return iter(roots)

    def _aliased(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise DocumentError(
                line, f"*{anchor} names no anchor: write &{anchor} where it is defined, before it"
            )
        node = self._anchors[anchor]
        if node is None:
            raise DocumentError(line, f"*{anchor} lies within itself: write out what is meant")
        return node

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _place(self, node: Node, stack: list[tuple[Node, str | None, list[Node]]], roots: list[Node]) -> None:
        if node.size > MOST_VALUES:
            raise DocumentError(node.line, f"holds more than {MOST_VALUES} values: split the file")
        (stack[-1][2] if stack else roots).append(node)


def _close(node: Node, parts: list[Node]) -> None:
    """Make a list or a mapping of what was found in it."""
    node.size = 1 + sum(part.size for part in parts)
    if node.value == "seq":
        node.value = parts
        return
    found: dict[str, Node] = {}
    merged: list[Node] = []
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        name = key.text if key.text is not None else key.value
        if not isinstance(name, str):
            raise DocumentError(key.line, "a name in a mapping is no text: write a word")
        if name == "<<" and key.text is not None:
            merged += value.value if isinstance(value.value, list) else [value]
            continue
        if name in found:
            raise DocumentError(key.line, f"'{name}' is given twice: give it once")
        found[name] = value
        node.lines[name] = key.line
    for other in merged:
        if not isinstance(other.value, dict):
            raise DocumentError(other.line, "'<<' merges what is no mapping: name a mapping's anchor")
        for name, value in other.value.items():
            if name not in found:
                found[name] = value
                node.lines[name] = other.lines.get(name)
    node.value = found


def _scalar(event: yaml.ScalarEvent, line: int) -> Node:
    _check_tag(event.tag, line, ("str", "int", "float", "bool", "null"))
    text: str = event.value
    if event.tag in (None, "!") and not event.implicit[0]:
        return Node(line, text)  # in quotes, or a block
    if event.tag == f"{_PREFIX}str":
        return Node(line, text)
    if text in _WORDS:
        return Node(line, _WORDS[text], text)
    if _NUMBER.fullmatch(text):
        return Node(line, json.loads(text), text)
    if event.tag is not None and event.tag != "!":
        raise DocumentError(line, f"{text[:40]!r} is no {event.tag.removeprefix(_PREFIX)}: leave out the tag")
    return Node(line, text, text)


def means_text(word: str) -> bool:
    """Whether a word without quotes is text."""
    return word not in _WORDS and not _NUMBER.fullmatch(word)


def _check_tag(tag: str | None, line: int, possible: tuple[str, ...]) -> None:
    if tag in (None, "!"):
        return
    name = str(tag).removeprefix(_PREFIX)
    if name in possible:
        return
    shown = f"!!{name}" if str(tag).startswith(_PREFIX) else str(tag)
    wrong = "does not fit what follows it" if name in _TAGS else "is a tag, and tags mean nothing here"
    raise DocumentError(line, f"{shown[:60]} {wrong}: leave it out")


def _explained(error: yaml.YAMLError) -> DocumentError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = ", ".join(
        str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part
    )
    if not words:
        words = str(getattr(error, "reason", error)).splitlines()[0]
    line = mark.line + 1 if mark is not None else None
    return DocumentError(line, f"is not valid YAML: {words}")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object's names and values, in order."""


def _pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


def _read_json(text: str) -> Node | None:
    """The document of a JSON text; None if it is none."""
    try:
        return _from_json(json.loads(text, object_pairs_hook=_pairs), 0)
    except (ValueError, RecursionError):
        return None


def _from_json(value: Any, depth: int) -> Node:
    if depth > DEEPEST:
        raise DocumentError(None, f"is nested deeper than {DEEPEST} levels: flatten it")
    if isinstance(value, _Pairs):
        node = Node(None, {})
        for name, one in value:
            if name in node.value:
                raise DocumentError(None, f"'{name}' is given twice: give it once")
            node.value[name] = _from_json(one, depth + 1)
        return node
    if isinstance(value, list):
        return Node(None, [_from_json(one, depth + 1) for one in value])
    return Node(None, value)
