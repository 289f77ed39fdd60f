"""Generates the parts of the manual that come from the code or from test runs.

They are in `docs/reference/` and `docs/engines.md` between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. A test
compares them, and ``.venv/bin/python -m tests.manual.reference`` regenerates them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import click
from prometheus_client import Histogram
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from api.cli.main import main
from scheduler.process.metrics import REGISTRY
from scheduler.settings.settings import Settings
from tests.lab import promises
from tests.manual.pages import ROOT, with_part

FOLDER: Final = ROOT / "docs" / "reference"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


# ---- settings --------------------------------------------------------------------------------------------


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ([], {}, ()):
        return ""
    if isinstance(value, BaseModel):
        return "below"
    if isinstance(value, (list, tuple, frozenset, set)):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _table(model: type[BaseModel], *, without: frozenset[str] = frozenset()) -> list[str]:
    lines = ["| setting | default | |", "|---|---|---|"]
    for name, info in model.model_fields.items():
        if name not in without:
            lines.append(f"| `{name}` | {_default(info)} | {_cell(info.description or '')} |")
    return lines


def settings() -> str:
    """All settings, followed by those of each table of the TOML file."""
    lines = _table(Settings)
    for name, info in Settings.model_fields.items():
        for model in _models_in(info.annotation):
            is_named = "dict" in str(info.annotation)
            heading = f"{name}.NAME" if is_named else name
            lines += ["", f"### `[{heading}]`", "", _cell(info.description or ""), "", *_table(model)]
    return "\n".join(lines)


# ---- the command -----------------------------------------------------------------------------------------


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _commands(found, f"{path} {name}")
    else:
        yield path, command


def _option(one: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    record = one.get_help_record(context) if isinstance(one, click.Option) else None
    return None if record is None else (_cell(record[0]), _cell(record[1]))


def _help(text: str) -> Iterator[str]:
    """The paragraphs of a help text; those whose lines click keeps (with a backspace before them) as a block."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from ("```text", *paragraph[2:].splitlines(), "```", "")
        else:
            yield from (_cell(paragraph), "")


def command() -> str:
    """Every command with its arguments and options."""
    lines: list[str] = []
    for path, one in _commands(main, "timeball"):
        context = click.Context(one, info_name=path)
        usage = " ".join(one.collect_usage_pieces(context))
        lines += [f"## `{path}`", "", f"`{path} {usage}`", "", *_help(one.help or "")]
        options = [found for each in one.get_params(context) if (found := _option(each, context))]
        options = [(name, words) for name, words in options if "--help" not in name]
        if options:
            lines += [
                "| option | |",
                "|---|---|",
                *(f"| `{name}` | {words} |" for name, words in options),
                "",
            ]
    return "\n".join(lines).strip()


# ---- metrics ---------------------------------------------------------------------------------------------


def metrics() -> str:
    """The metrics in `/metrics`, by name."""
    lines = ["| metric | kind | labels | |", "|---|---|---|---|"]
    found = sorted(REGISTRY._names_to_collectors.values(), key=lambda one: one._name)
    for one in dict.fromkeys(found):
        kind = one._type
        name = f"{one._name}_total" if kind == "counter" else one._name
        kind = "histogram" if isinstance(one, Histogram) else kind
        labels = ", ".join(f"`{label}`" for label in one._labelnames)
        lines.append(f"| `{name}` | {kind} | {labels} | {_cell(one._documentation)} |")
    return "\n".join(lines)


PARTS: Final[dict[str, tuple[Path, Callable[[], str]]]] = {
    "settings": (FOLDER / "settings.md", settings),
    "command": (FOLDER / "command.md", command),
    "metrics": (FOLDER / "metrics.md", metrics),
    "promises": (promises.PAGE, promises.table),
}


if __name__ == "__main__":
    for part_name, (page, render) in PARTS.items():
        page.write_text(with_part(page.read_text(encoding="utf-8"), part_name, render()), encoding="utf-8")
