"""Parses a shell command line: the programs and their words, and what else the shell would do. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_OPERATOR: Final = re.compile(r"&&|\|\||;;|\|&|;|\||&(?!>)|\n")
_REDIRECTION: Final = re.compile(r"(?:[0-9]*(?:>>|>&|<&|>\||<>|<<-?|<|>)|&>>?)")
_EXPANSION: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)


class ShellError(Exception):
    """The line is not valid shell syntax."""


@dataclass(slots=True)
class Command:
    """A simple command of a line.

    Attributes:
        words: the words as the program gets them, without the shell's expansions.
        before: the operator before the command; empty for the first one.
        redirections: the redirections, such as `>> /var/log/x`.
        expansions: the parts that only a shell can expand, such as `$(date)` and `*`.
    """

    words: list[str] = field(default_factory=list)
    before: str = ""
    redirections: list[str] = field(default_factory=list)
    expansions: list[str] = field(default_factory=list)


def read_line(line: str, variables: Mapping[str, str]) -> list[Command]:
    """The simple commands of a line, in order.

    Args:
        line: the command line.
        variables: the known variables, which are expanded.

    Raises:
        ShellError: a quote is not closed.
    """
    return _Reader(line, variables).read()


class _Reader:
    def __init__(self, line: str, variables: Mapping[str, str]) -> None:
        self._line = line
        self._variables = variables
        self._at = 0
        self._command = Command()

    def read(self) -> list[Command]:
        found = [self._command]
        while self._at < len(self._line):
            rest = self._line[self._at :]
            if rest[0] in " \t":
                self._at += 1
            elif rest[0] == "#":
                break
            elif match := _REDIRECTION.match(rest):
                self._at += match.end()
                self._skip_blanks()
                target = self._word() if self._at < len(self._line) else ""
                self._command.redirections.append(
                    f"{match[0]}{'' if match[0].endswith('&') else ' '}{target}"
                )
            elif match := _OPERATOR.match(rest):
                self._at += match.end()
                self._command = Command(before=match[0].strip() or ";")
                found.append(self._command)
            else:
                self._command.words.append(self._word())
        return [command for command in found if command.words or command.redirections]

    def _skip_blanks(self) -> None:
        while self._at < len(self._line) and self._line[self._at] in " \t":
            self._at += 1

    def _word(self) -> str:
        parts: list[str] = []
        line = self._line
        while self._at < len(line):
            character = line[self._at]
            if character in " \t\n;|<>&":
                break
            if character == "'":
                parts.append(self._until("'"))
            elif character == '"':
                parts.append(self._double())
            elif character == "\\":
                self._at += 2
                parts.append(line[self._at - 1 : self._at])
            elif character in "$`":
                parts.append(self._expansion())
            else:
                if character in "*?[()" or (character == "~" and not parts):
                    self._command.expansions.append(character)
                parts.append(character)
                self._at += 1
        return "".join(parts)

    def _until(self, quote: str) -> str:
        end = self._line.find(quote, self._at + 1)
        if end < 0:
            raise ShellError(f"the quote at position {self._at + 1} is not closed")
        found = self._line[self._at + 1 : end]
        self._at = end + 1
        return found

    def _double(self) -> str:
        begin = self._at
        self._at += 1
        parts: list[str] = []
        while self._at < len(self._line):
            character = self._line[self._at]
            if character == '"':
                self._at += 1
                return "".join(parts)
            if character == "\\" and self._line[self._at + 1 : self._at + 2] in {"$", "`", '"', "\\"}:
                parts.append(self._line[self._at + 1])
                self._at += 2
            elif character in "$`":
                parts.append(self._expansion())
            else:
                parts.append(character)
                self._at += 1
        raise ShellError(f"the quote at position {begin + 1} is not closed")

    def _expansion(self) -> str:
        """An expansion that starts with `$` or a backquote: the value of a known variable, or the text as written."""
        line, begin = self._line, self._at
        if line[begin] == "`":
            found = f"`{self._until('`')}`"
        elif line.startswith("$(", begin):
            found = self._substitution()
        elif match := _EXPANSION.match(line, begin):
            self._at = match.end()
            name = match[1] or match[2]
            if name in self._variables:
                return self._variables[name]
            found = match[0]
        elif line.startswith("${", begin):
            end = line.find("}", begin)
            self._at = len(line) if end < 0 else end + 1
            found = line[begin : self._at]
        else:
            # A lone $ stands for itself; $1, $? and so on are set by the shell.
            special = line[begin + 1 : begin + 2]
            length = 2 if special and special in "0123456789?$!#@*-" else 1
            self._at = begin + length
            found = line[begin : self._at]
            if length == 1:
                return found
        self._command.expansions.append(found)
        return found

    def _substitution(self) -> str:
        begin, depth = self._at, 0
        while self._at < len(self._line):
            depth += {"(": 1, ")": -1}.get(self._line[self._at], 0)
            self._at += 1
            if depth == 0 and self._at > begin + 1:
                return self._line[begin : self._at]
        raise ShellError(f"the $( at position {begin + 1} is not closed")
