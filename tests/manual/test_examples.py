"""What pages say outside of commands that are run is held against the code as well: names, fields, addresses."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any, cast

import click
import pytest
import yaml

from api.cli.main import main
from api.schemas.jobs import JobCreate
from api.server.app import build_app
from scheduler.access.tokens import Tokens
from scheduler.process.metrics import REGISTRY
from scheduler.service import Service
from scheduler.settings.settings import Settings
from scheduler.timing.schedule import parse_schedule
from tests.manual.pages import ROOT, blocks_of, name_of, pages, steps_of

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
#: Words that stand for something in examples of commands, and are no commands themselves.
PLACEHOLDERS = re.compile(r"[A-Z|]+|…")
#: Variables that are no settings: those of the command, and those that tests and scripts read.
OTHER_VARIABLES = {
    "TIMEBALL_URL",
    "TIMEBALL_TOKEN",
    "TIMEBALL_CONFIG",
    "TIMEBALL_LANGUAGE",
    "TIMEBALL_TEST_SEED",
    "TIMEBALL_TEST_FAULT",
    "TIMEBALL_TEST_PROCESSES",
    "TIMEBALL_SOAK_SECONDS",
}


#: What other systems serve.
OTHERS_ADDRESSES = {("GET", "/v1/scheduler/jobs")}


def prose() -> Iterator[tuple[str, str]]:
    """Each page's name and text, without its blocks of code."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield name_of(page), re.sub(r"^ *```.*?^ *```\s*$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(pattern: str) -> list[tuple[str, str]]:
    """What stands between backquotes in the pages and matches a pattern, each with its page."""
    return [
        (name, span)
        for name, text in prose()
        for span in re.findall(r"`([^`\n]+)`", text)
        if re.fullmatch(pattern, span)
    ]


def test_no_code_is_hidden_from_the_tests() -> None:
    """Code that is only indented has no language, and nobody would run it."""
    assert [name for name, text in prose() if re.search(r"\n\n {4,}\S", text)] == []


# ---- commands --------------------------------------------------------------------------------------------


def shown_commands() -> list[tuple[str, str]]:
    """Every `timeball …` in prose or in a block, each with where it stands."""
    found = spans(r"timeball( .*)?")
    for block in BLOCKS:
        if block.language in ("sh", "console"):
            for step in steps_of(block):
                text = re.sub(r"\"(\\.|[^\"\\])*\"|'[^']*'", "QUOTED", step.command.replace("\\\n", " "))
                # After 'exec', it is the name of a service of Compose.
                found += [
                    (str(block), one) for one in re.findall(r"(?<!exec )\btimeball [a-z][^|;&)#\n]*", text)
                ]
    return found


def refused(line: str) -> str | None:
    """What of a line is no command or no option of its command; None if all is known."""
    words = shlex.split(line)[1:]
    command: click.Command = main
    path = "timeball"
    for word in words:
        if word.startswith("-"):
            name = word.partition("=")[0]
            known = [option for one in command.params for option in (*one.opts, *one.secondary_opts)]
            if name not in [*known, "--help", "-h"] and not PLACEHOLDERS.fullmatch(name.lstrip("-")):
                return f"{path} has no option {name}"
        elif isinstance(command, click.Group) and not PLACEHOLDERS.fullmatch(word):
            found = command.get_command(click.Context(command), word)
            if found is None:
                return f"{path} has no command {word}"
            command, path = found, f"{path} {word}"
    return None


def test_every_command_that_is_named_exists_with_its_options() -> None:
    """In prose, and in blocks that are not run."""
    shown = shown_commands()
    assert len(shown) > 100
    assert [f"{where}: {line}: {wrong}" for where, line in shown if (wrong := refused(line))] == []


def test_a_command_or_an_option_that_does_not_exist_would_be_found() -> None:
    """Or the test above would find nothing, whatever stood there."""
    assert refused("timeball jobs list") == "timeball has no command jobs"
    assert refused("timeball job list --colour red") == "timeball job list has no option --colour"
    assert refused("timeball job create NAME --image 'a:1' -q") is None


# ---- addresses -------------------------------------------------------------------------------------------


def test_every_address_that_is_named_is_served() -> None:
    """Each method and path in prose, whatever stands for the ids."""
    app = build_app(cast("Service", None), cast("Tokens", None), max_body_bytes=1)
    served = {
        (route.method, re.sub(r"\{[^}]*\}", "{}", route.resource.canonical).rstrip("/"))
        for route in app.router.routes()
        if route.resource is not None
    }
    named = [
        (name, method, re.sub(r"\{[^}]*\}", "{}", address.split("?")[0]).rstrip("/"))
        for name, span in spans(r"(GET|POST|PUT|PATCH|DELETE)( or [A-Z]+|, [A-Z]+)* /[^…]*")
        for method in re.findall(r"[A-Z]{3,}", span.split(" /")[0])
        for address in [f"/{span.split(' /', 1)[1].split()[0]}"]
    ]
    assert len(named) > 20
    assert [one for one in named if one[1:] not in served | OTHERS_ADDRESSES] == []


# ---- data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=str)
def test_fields_of_jobs_that_are_shown_are_fields_of_jobs(block: Any) -> None:
    """A piece of a job is accepted as part of one."""
    shown = json.loads(block.text.replace(", …", "").replace("…", ""))
    if isinstance(shown, dict) and shown.keys() <= JobCreate.model_fields.keys():
        JobCreate.model_validate({"name": "a job", "docker_image_repo": "busybox"} | shown)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=str)
def test_yaml_that_is_shown_is_yaml(block: Any) -> None:
    """It can be read."""
    assert yaml.safe_load(block.text)


def test_every_schedule_that_is_shown_is_one() -> None:
    """Intervals and crontab expressions between backquotes; what is refused is in no such form."""
    intervals = spans(r"R\d*/[^ ]*/[^ ]*")
    crons = spans(r"[\d*/,-]+( [\d*/,-]+){3} [\w*/,-]+")
    complete = [(name, text) for name, text in intervals if not re.search(r"[<…]|[a-z]", text)]
    assert len(complete) > 10
    assert len(crons) > 3
    for name, text in [*complete, *crons]:
        if text != "0 0 31 2 *":  # shown as one that is refused
            assert parse_schedule(text, "Europe/Berlin"), f"{name}: {text}"


# ---- settings and metrics --------------------------------------------------------------------------------


def test_every_variable_that_is_named_is_a_setting() -> None:
    """Of the daemon, the command, or the tests."""
    known = {f"TIMEBALL_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for page in PAGES:
        named = set(re.findall(r"\bTIMEBALL_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
        assert {name for name in named if name.split("__")[0] not in known} == set(), name_of(page)


def metric_names() -> set[str]:
    """As `/metrics` has them."""
    return set(REGISTRY._names_to_collectors)


DASHBOARDS = sorted((ROOT / "deploy" / "dashboards").glob("*.*"))


@pytest.mark.parametrize("file", [*PAGES, *DASHBOARDS], ids=name_of)
def test_every_metric_that_is_named_is_exposed(file: Any) -> None:
    """In pages, alerts and dashboards."""
    named = re.findall(r"(?<![\w-])timeball_[a-z_]*[a-z]\b(?!\.)", file.read_text(encoding="utf-8"))
    assert set(named) <= metric_names()


def test_every_alert_is_explained() -> None:
    """To whoever is woken by it."""
    alerts = yaml.safe_load((ROOT / "deploy" / "dashboards" / "alerts.yaml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "howto" / "monitoring.md").read_text(encoding="utf-8")
    named = [rule["alert"] for group in alerts["groups"] for rule in group["rules"]]
    assert named == re.findall(r"^\| `(Timeball\w+)` \| *[^ |]", page, re.MULTILINE)


def test_alerts_and_dashboards_ask_for_labels_that_exist() -> None:
    """A misspelt label matches nothing, and an alert that never fires looks like health."""
    labels = {name: set(one._labelnames) for name, one in REGISTRY._names_to_collectors.items()}
    for file in DASHBOARDS:
        for name, chosen in re.findall(r"(timeball_\w+)\{([^}]*)\}", file.read_text(encoding="utf-8")):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))
            assert asked <= labels[name] | {"job", "instance", "le"}, f"{file.name}: {name}"
