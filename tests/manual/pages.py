"""The manual as a test sees it: pages, and in them blocks of code, each with its language and whether it can be run.

A block that cannot be run in a test has a comment right before it that says why: ``<!-- not run: needs systemd -->``.
What every language of a block means: ``sh`` is run; ``console`` is run and what it prints is compared; ``json``,
``toml``, ``yaml`` and ``python`` are read; ``text`` and ``mermaid`` are only for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCE: Final = re.compile(r"^( *)(```+)\s*(\w*)\s*$")
_NOT_RUN: Final = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->")


@dataclass(frozen=True, slots=True)
class Block:
    """Some code in a page.

    Attributes:
        page: the page's path, from the top of the repository.
        line: on which it begins, from 1.
        language: what stands behind the fence.
        text: its lines.
        not_run: why it cannot be run; None if it can.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None = None

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a ``console`` block, and what it is shown to print (None: nothing is compared)."""

    block: Block
    command: str
    printed: str | None = None


def pages() -> list[Path]:
    """All pages that users read; records of decisions and the changelog show no commands to follow."""
    found = [ROOT / "README.md", *sorted(ROOT.glob("README.*.md")), ROOT / "CONTRIBUTING.md"]
    return [*found, *sorted(page for page in (ROOT / "docs").rglob("*.md") if "decisions" not in page.parts)]


def name_of(page: Path) -> str:
    """A page's path from the top of the repository."""
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    """The blocks of code in a page, from its top to its end."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    opened: tuple[int, str, str, int, str | None] | None = None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if opened is None and fence is not None:
            before = next((text for text in reversed(lines[: number - 1]) if text.strip()), "")
            reason = _NOT_RUN.fullmatch(before.strip())
            indent = len(fence[1])
            opened = (number, fence[2], fence[3], indent, None if reason is None else reason[1])
        elif opened is not None and fence is not None and fence[2] == opened[1] and not fence[3]:
            begin, _, language, indent, not_run = opened
            text = "".join(f"{one[indent:]}\n" for one in lines[begin : number - 1])
            found.append(Block(name_of(page), begin, language, text, not_run))
            opened = None
    assert opened is None, f"{name_of(page)}: a block that is opened in line {opened} is never closed"
    return found


def steps_of(block: Block) -> list[Step]:
    """What a block has to be run: all of a ``sh`` block at once, a ``console`` block command by command."""
    if block.language == "sh":
        return [Step(block, block.text)]
    steps: list[Step] = []
    command: list[str] = []
    printed: list[str] = []

    def done() -> None:
        if command:
            steps.append(Step(block, "\n".join(command) + "\n", "\n".join(printed).strip("\n")))

    for line in block.text.splitlines():
        if line.startswith("$ "):
            done()
            command, printed = [line[2:]], []
        elif line.startswith("> ") and command and not printed:
            command.append(line[2:])
        else:
            printed.append(line)
    done()
    return steps


#: What differs from one run to the next, and what stands for it; tables are as wide as their cells.
_VARYING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?( [A-Z]{3,4})?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?\b"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8}\b"), "<id>"),
    (re.compile(r"\b\d+(\.\d+)? m?s\b"), "<duration>"),
    (re.compile(r"[ \t]+"), " "),
)


def _plain(text: str) -> str:
    for pattern, stands_for in _VARYING:
        text = pattern.sub(stands_for, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())


def is_as_shown(printed: str, shown: str) -> bool:
    """Whether a command printed what the manual shows.

    Times, ids and durations may be others. ``…`` stands for anything within a line, and on a line of its own for any
    number of lines.
    """
    parts: list[str] = []
    for line in _plain(shown).splitlines():
        if line == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*".join(re.escape(part) for part in line.split("…")) + r"\n")
    return re.fullmatch("".join(parts), f"{_plain(printed)}\n" if printed.strip() else "") is not None


def with_part(text: str, name: str, part: str) -> str:
    """The page with that part replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"the page has no '{begin}' … '{end}'"
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"
