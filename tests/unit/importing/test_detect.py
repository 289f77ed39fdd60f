"""Which format a file is of, without being told."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.declaring.documents import DocumentError
from api.cli.importing.detect import Format, read
from api.cli.importing.finish import Choices, finish
from api.cli.importing.result import FormatError


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("*/5 * * * * docker run a", Format.CRONTAB),
        ("# c\nMAILTO=x\n@daily docker run a", Format.CRONTAB),
        ("kind: CronJob", Format.CRONJOB),
        ("kind: List\nitems: []", Format.CRONJOB),
        ('[{"kind": "CronJob"}]', Format.CRONJOB),
        ('[job-run "a"]\nimage = b', Format.OFELIA),
        ("[global]\nsave-folder = x", Format.OFELIA),
        ("services: {}", Format.OFELIA),
        ('[{"Config": {"Labels": {}}}]', Format.OFELIA),
        ('{"name": "a", "schedule": "R//PT1H"}', Format.CHRONOS),
        ('[{"name": "a", "parents": ["b"]}]', Format.CHRONOS),
    ],
)
def test_a_format_is_found_out(text: str, form: Format):
    """By what only it has."""
    assert read(text, "file")[0] is form


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("", None, "name it with --from"),
        ("hello", None, "name it with --from"),
        ("a: [", None, "is not valid YAML"),
        ("jobs: []", None, "timeball apply -f"),
        ("", Format.CHRONOS, "is empty"),
        ("a: b", Format.OFELIA, "is not an Ofelia INI file"),
        ("{", Format.CRONJOB, "is not valid YAML"),
    ],
)
def test_what_is_of_no_format_is_refused(text: str, form: Format | None, said: str):
    """With what to do."""
    with pytest.raises(FormatError, match=said):
        read(text, "file", form)


def test_what_files_do_not_say_is_chosen():
    """What they do say stays; everything can be left switched off."""
    text = "0 1 * * * docker run a\nCRON_TZ=Asia/Tokyo\n0 1 * * * docker run -m 1g b\n"
    _, result = read(text, "file", Format.CRONTAB)
    first, second = finish(
        result, "file", Choices(namespace="team", timezone="Europe/Berlin", size="S", inactive=True)
    )
    assert first.fields["schedule_timezone"] == "Europe/Berlin"
    assert (first.namespace, first.fields["resource_size"], first.place) == ("team", "S", "file:1")
    assert (second.fields["schedule_timezone"], second.fields["resource_size"]) == ("Asia/Tokyo", "L")
    assert "is_schedule_active" not in first.fields
    assert not any(note.line is None for note in result.notes)


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers(-5, 5) | st.text("a$*{ :=", max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "schedule", "container", "image", "kind", "metadata", "spec", "jobTemplate", "template", "containers", "env", "valueFrom", "secretKeyRef", "resources", "limits", "services", "labels", "Config", "Labels", "volumes", "parameters", "command", "items"]), inner, max_size=4), max_leaves=12), st.sampled_from(list(Format)))  # fmt: skip
def test_no_data_break_a_reader(data: object, form: Format):
    """They come to jobs and notes, or are refused."""
    try:
        _, result = read(json.dumps(data), "file", form)
    except (FormatError, DocumentError):
        return
    finish(result, "file", Choices())
