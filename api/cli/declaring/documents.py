"""Reads YAML and JSON into trees that record the line of each value. Pure.

Plain scalars are read as in JSON: `true`, `false`, `null` and JSON numbers have their types, and everything else is
text. So `yes`, `12:30`, `0123`, `0x1f` and `2026-01-31` stay text, which YAML 1.1 would convert. Only the tags of
JSON's types are allowed, aliases are followed within limits, and a duplicate name in a mapping is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

#: The maximum number of values in a text, with aliases expanded: more than any real file, and little enough memory.
MOST_VALUES: Final = 2_000_000
DEEPEST: Final = 60
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,400})(?:\.[0-9]{1,400})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
#: Characters that are line breaks in YAML but ordinary characters in JSON.
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
        line: the line, counted from 1; None if unknown.
        message: the error, and how to fix it.
    """

    def __init__(self, line: int | None, message: str) -> None:
        self.line = line
        self.message = message
        super().__init__(message)


@dataclass(slots=True)
class Node:
    """A value with its line.

    Attributes:
        line: the first line, counted from 1; None if unknown.
        value: None, a bool, int, float or str; a list of nodes; or a mapping of names to nodes.
        text: a plain scalar as written, such as `1.10`.
        size: the number of values in it, including itself.
        lines: the lines of a mapping's names.
    """

    line: int | None
    value: Any
    text: str | None = None
    size: int = 1
    lines: dict[str, int | None] = field(default_factory=dict)

    def plain(self) -> Any:
        """The data without lines."""
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def words(self) -> str | None:
        """A scalar as written; None for null, lists and mappings."""
        if isinstance(self.value, str):
            return self.value
        if self.value is None or isinstance(self.value, list | dict):
            return None
        return self.text if self.text is not None else json.dumps(self.value)

    def at(self, path: str) -> tuple[Node, int | None]:
        """The node at a dotted path such as `runtime_vars.MODE`, or the last one that exists, and its line."""
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
        DocumentError: it is not UTF-8, or contains NUL characters.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            line, f"byte {raw[error.start]:#04x} is not valid UTF-8; save the file as UTF-8"
        ) from error
    if "\x00" in text:
        raise DocumentError(
            text.count("\n", 0, text.index("\x00")) + 1, "contains a NUL character; remove it"
        )
    return text


def read_documents(text: str) -> list[Node]:
    """The documents of a YAML or JSON text, without empty ones.

    Raises:
        DocumentError: the text is neither, or contains something that is not allowed.
    """
    may_be_json = text.lstrip().startswith(("{", "["))
    if may_be_json and _BREAKS.search(text) and (found := _read_json(text)) is not None:
        return [found]
    try:
        return [document for document in _Builder().documents(text) if document.value is not None]
    except DocumentError:
        # JSON that is not valid YAML, such as tabs before a value, and surrogate pairs.
        if may_be_json and (found := _read_json(text)) is not None:
            return [found]
        raise


class _Builder:
    """Builds nodes from YAML events, one document after another, without recursion."""

    def __init__(self) -> None:
        self._anchors: dict[str, Node | None] = {}

    def documents(self, text: str) -> Iterator[Node]:
        """Every document, including empty ones."""
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
                        raise DocumentError(line, f"is nested deeper than {DEEPEST} levels; flatten it")
                    kind = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
                    _check_tag(event.tag, line, (kind,))
                    if event.anchor is not None:
                        self._anchors[event.anchor] = None  # known, but not complete yet
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
                line, f"the alias *{anchor} has no anchor; define it with &{anchor} before this line"
            )
        node = self._anchors[anchor]
        if node is None:
            raise DocumentError(line, f"the alias *{anchor} contains itself; write out the value")
        return node

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _place(self, node: Node, stack: list[tuple[Node, str | None, list[Node]]], roots: list[Node]) -> None:
        if node.size > MOST_VALUES:
            raise DocumentError(node.line, f"contains more than {MOST_VALUES} values; split the file")
        (stack[-1][2] if stack else roots).append(node)


def _close(node: Node, parts: list[Node]) -> None:
    """Build a list or a mapping from its parts."""
    node.size = 1 + sum(part.size for part in parts)
    if node.value == "seq":
        node.value = parts
        return
    found: dict[str, Node] = {}
    merged: list[Node] = []
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        name = key.text if key.text is not None else key.value
        if not isinstance(name, str):
            raise DocumentError(key.line, "a name in a mapping is not text; use a word")
        if name == "<<" and key.text is not None:
            merged += value.value if isinstance(value.value, list) else [value]
            continue
        if name in found:
            raise DocumentError(key.line, f"'{name}' is set twice; remove one of the entries")
        found[name] = value
        node.lines[name] = key.line
    for other in merged:
        if not isinstance(other.value, dict):
            raise DocumentError(other.line, "'<<' merges a value that is not a mapping; refer to a mapping")
        for name, value in other.value.items():
            if name not in found:
                found[name] = value
                node.lines[name] = other.lines.get(name)
    node.value = found


def _scalar(event: yaml.ScalarEvent, line: int) -> Node:
    _check_tag(event.tag, line, ("str", "int", "float", "bool", "null"))
    text: str = event.value
    if event.tag in (None, "!") and not event.implicit[0]:
        return Node(line, text)  # quoted, or a block
    if event.tag == f"{_PREFIX}str":
        return Node(line, text)
    if text in _WORDS:
        return Node(line, _WORDS[text], text)
    if _NUMBER.fullmatch(text):
        return Node(line, json.loads(text), text)
    if event.tag is not None and event.tag != "!":
        kind = event.tag.removeprefix(_PREFIX)
        raise DocumentError(line, f"{text[:40]!r} is not of the type {kind}; remove the tag")
    return Node(line, text, text)


def means_text(word: str) -> bool:
    """Whether an unquoted word is text."""
    return word not in _WORDS and not _NUMBER.fullmatch(word)


def _check_tag(tag: str | None, line: int, possible: tuple[str, ...]) -> None:
    if tag in (None, "!"):
        return
    name = str(tag).removeprefix(_PREFIX)
    if name in possible:
        return
    shown = f"!!{name}" if str(tag).startswith(_PREFIX) else str(tag)
    wrong = "does not match its value" if name in _TAGS else "is not supported"
    raise DocumentError(line, f"the tag {shown[:60]} {wrong}; remove it")


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
    """The names and values of a JSON object, in order."""


def _pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    return _Pairs(pairs)


def _read_json(text: str) -> Node | None:
    """The document of a JSON text, or None if the text is not valid JSON."""
    try:
        return _from_json(json.loads(text, object_pairs_hook=_pairs), 0)
    except (ValueError, RecursionError):
        return None


def _from_json(value: Any, depth: int) -> Node:
    if depth > DEEPEST:
        raise DocumentError(None, f"is nested deeper than {DEEPEST} levels; flatten it")
    if isinstance(value, _Pairs):
        node = Node(None, {})
        for name, member in value:
            if name in node.value:
                raise DocumentError(None, f"'{name}' is set twice; remove one of the entries")
            node.value[name] = _from_json(member, depth + 1)
        return node
    if isinstance(value, list):
        return Node(None, [_from_json(element, depth + 1) for element in value])
    return Node(None, value)
