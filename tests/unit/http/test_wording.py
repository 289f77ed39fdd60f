"""Errors speak the language of the interface that the reader is using."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.client import ApiError
from api.wording import WORDS, for_the_api, for_the_command
from scheduler.domain.errors import How

ROOT = Path(__file__).parents[3]
#: What only callers over HTTP can do, and what only users of the command can.
HTTP = re.compile(r"\?\w+=|\b(?:GET|PUT|POST|PATCH|DELETE) (?:/|…)|\bwith (?:PUT|POST|DELETE)\b|/v1/(?!\")")
COMMAND = re.compile(r"(?<![\w-])--[a-z]|\btimeball (?!/)[a-z]+ [a-z]+")
#: Rooms whose errors only operators read, in the daemon's log or the output of `timeball serve` and `doctor`.
OPERATORS = ("settings", "process", "keeping", "assembly", "daemon.py")
#: Commands of PostgreSQL for operators, and the paths of links in mails.
EXCEPTIONS = {
    ("backup.py", "--format=custom"),
    ("backup.py", "pg_restore --dbname"),
    ("mail.py", "/v1/jobs/"),
    ("registry.py", "index.docker.io/v1/"),
}


def texts(path: Path) -> Iterator[str]:
    """The string constants of a module without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def found(folder: str, pattern: re.Pattern[str]) -> set[tuple[str, str]]:
    """The texts below a folder that the pattern matches, each with its module."""
    return {
        (path.name, text)
        for path in (ROOT / folder).rglob("*.py")
        if path.relative_to(ROOT / folder).parts[0] not in OPERATORS and "migrations" not in path.parts
        for text in texts(path)
        if pattern.search(text)
    }


def is_exception(module: str, text: str) -> bool:
    """Whether a text is meant."""
    return any(module == name and part in text for name, part in EXCEPTIONS)


@pytest.mark.parametrize("pattern", [HTTP, COMMAND])
def test_the_core_names_neither_http_nor_options_of_the_command(pattern: re.Pattern[str]):
    """Its errors reach users through both, and the page."""
    wrong = {(module, text) for module, text in found("scheduler", pattern) if not is_exception(module, text)}
    assert not wrong, "use a placeholder of scheduler.domain.errors.How, or say it in plain words"


def test_every_placeholder_has_words_in_each_interface():
    """A placeholder without words would be shown to users."""
    assert set(WORDS) == set(How)
    for how in How:
        assert how not in for_the_api(f"use {how}")
        assert "{" not in for_the_command(for_the_api(f"use {how}"))


def test_the_api_has_its_own_words_in_one_table_only():
    """A text with words of its own would reach users of the command unchanged."""
    own = re.compile("|".join(re.escape(words.api) for words in WORDS.values()))
    for folder in ("api/http", "api/routes", "api/schemas", "api/server"):
        assert not found(folder, own)


def test_the_command_shows_the_errors_of_the_api_in_its_own_words():
    """Users of the command are told about options, not about queries."""
    detail = for_the_api(f"Run 1 has not ended. Stop it first, or use {How.FORCE} to stop and delete it.")
    assert "?force=true" in detail
    error = ApiError(409, {"detail": detail}, "")
    assert str(error) == "Run 1 has not ended. Stop it first, or use --force to stop and delete it."
