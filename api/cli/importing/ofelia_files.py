"""Reads the files that contain Ofelia jobs: INI files, Compose files, and the output of `docker inspect`. Pure."""

from __future__ import annotations

import re
from typing import Final

from api.cli.declaring.documents import Node
from api.cli.importing.ofelia import Section, label_sections, take_sections
from api.cli.importing.result import Imported, Part

_SECTION: Final = re.compile(r'\s*\[\s*([A-Za-z-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]\s*(?:[#;].*)?')
_VALUE: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:=\s*(.*))?", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b", "\\": "\\", '"': '"'}
_COMPOSE: Final = re.compile(r"\$(?:(\$)|\{([A-Za-z_]\w*)(?::?-([^}]*))?[^}]*\}|([A-Za-z_]\w*))", re.ASCII)


def looks_like_ini(text: str) -> bool:
    """Whether any line starts an Ofelia section."""
    return re.search(r'^\s*\[\s*(job-[a-z-]+\s+"|global\s*\])', text, re.MULTILINE) is not None


def read_ini(text: str) -> Imported:
    """The jobs in an INI file. Its grammar is that of gcfg, which follows git."""
    result = Imported()
    sections: list[Section] = []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line, place = lines[number].rstrip("\r"), number + 1
        number += 1
        while line.endswith("\\") and number < len(lines):  # continues on the next line
            line = line[:-1] + lines[number].rstrip("\r")
            number += 1
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        if (match := _SECTION.fullmatch(line)) is not None:
            sections.append(Section(match[1].lower(), re.sub(r"\\(.)", r"\1", match[2] or ""), place))
        elif (match := _VALUE.fullmatch(line)) is None:
            result.note(place, f"{line.strip()[:60]!r} is not a valid INI line and is not imported")
        elif not sections:
            result.note(place, f"{match[1]} is outside of any section and is not imported")
        else:
            value = "true" if match[2] is None else _ini_value(match[2])
            if value is None:
                result.note(place, f"{match[1]} has an unclosed quote and is not imported")
            else:
                sections[-1].put(match[1], value, place)
    take_sections(sections, result)
    return result


def _ini_value(text: str) -> str | None:
    """A value without quotes and comments; None if a quote is not closed."""
    parts: list[str] = []
    is_quoted, at, kept = False, 0, 0
    while at < len(text):
        character = text[at]
        if character == "\\" and text[at + 1 : at + 2] in _ESCAPES:
            parts.append(_ESCAPES[text[at + 1]])
            at += 1
        elif character == '"':
            is_quoted = not is_quoted
        elif character in "#;" and not is_quoted:
            break
        else:
            parts.append(character)
        if is_quoted or not character.isspace():
            kept = len(parts)
        at += 1
    return None if is_quoted else "".join(parts[:kept])


def read_compose(documents: list[Node]) -> Imported:
    """The jobs in the labels of the services in a Compose file."""
    result = Imported()
    sections: list[Section] = []
    for document in documents:
        services = Part(document, "", result).part("services")
        for name in services.names():
            labels = services.part(name).node("labels")
            found: dict[str, tuple[str, int | None]] = {}
            if isinstance(labels.value, list):
                for item in labels.value:
                    label, _, value = (item.words() or "").partition("=")
                    found[label] = (value, item.line)
            elif isinstance(labels.value, dict):
                found = {
                    label: (node.words() or "", labels.lines.get(label))
                    for label, node in labels.value.items()
                }
            filled = {
                label: (_filled(label, value, line, result), line)
                for label, (value, line) in found.items()
                if label.startswith("ofelia.")
            }
            sections += label_sections(filled, f"service {name}", result)
    take_sections(sections, result)
    return result


def _filled(label: str, value: str, line: int | None, result: Imported) -> str:
    """A value with Compose variables replaced by their defaults."""

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        name = match[2] or match[4]
        kept = match[3] if match[3] is not None else match[0]
        what = f"its default '{kept}' is used" if match[3] is not None else "it is used literally"
        result.note(line, f"{label}: ${name} is set by Compose, which is not imported: {what}")
        return kept

    return _COMPOSE.sub(fill, value)


def read_inspected(documents: list[Node]) -> Imported:
    """The jobs in the labels of containers, as printed by `docker inspect`."""
    result = Imported()
    sections: list[Section] = []
    for document in documents:
        for node in document.value if isinstance(document.value, list) else [document]:
            container = Part(node, "", result)
            labels = container.part("Config").part("Labels")
            found = {name: (labels.text(name, "") or "", labels.line_of(name)) for name in labels.names()}
            name = (container.text("Name", "") or "").removeprefix("/")
            sections += label_sections(found, f"container {name}", result)
    take_sections(sections, result)
    return result
