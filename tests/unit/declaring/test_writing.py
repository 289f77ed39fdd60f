"""What is exported: it reads back as it was, by every reader, and says no more than it has to."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.declaring.documents import read_documents
from api.cli.declaring.form import checked, default_fields, read_jobs
from api.cli.declaring.plan import PlanAction, make_plan
from api.cli.declaring.writing import as_json, as_yaml, exported

TEXTS = st.one_of(
    st.text(max_size=20).filter(lambda text: "\x00" not in text),
    st.sampled_from(["yes", "null", "~", "12:30", "0123", "1e5", "1.10", "=", "<<", "- a", "a: b", "#", "", " ", "\n", "a\nb", "a\n b\n\n", "\u2028", "😀", "%", "!x"]),
).filter(lambda text: text.isprintable() or not any(0xD800 <= ord(one) < 0xE000 for one in text))  # fmt: skip
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
FIELDS = st.fixed_dictionaries(
    {"name": st.from_regex(r"[a-z晚][a-z0-9 :#'-]{0,10}[a-z0-9]", fullmatch=True), "docker_image_repo": st.just("r:5000/a")},
    optional={
        "namespace": st.sampled_from(["team", "0123", "yes"]),
        "docker_image_tag": st.sampled_from(["1.10", "latest", "007", "v1"]),
        "command": st.one_of(st.none(), st.lists(TEXTS.filter(bool), min_size=1, max_size=3), st.just("sh -c 'a; b'")),
        "runtime_vars": st.dictionaries(NAMES, st.one_of(TEXTS, st.fixed_dictionaries({"secret": st.just("db.key")})), max_size=4),
        "labels": st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), st.sampled_from(["1", "on", "x y"]), max_size=2),
        "schedule_mode": st.sampled_from(["R3//PT5S", "*/5 * * * *", "@daily", "R/2026-01-31T09:00:00Z/P1M"]),
        "schedule_timezone": st.sampled_from(["Europe/Berlin", "UTC"]),
        "resource_size": st.sampled_from(["XXS", "M"]),
        "max_retries": st.integers(0, 100),
        "retry_on": st.just(["timeout"]),
        "mounts": st.just([{"source": "/a", "target": "/b", "read_only": False}]),
        "timeout_seconds": st.one_of(st.none(), st.integers(1, 100)),
        "read_only_root": st.booleans(),
        "pin_digest": st.booleans(),
    },
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(FIELDS, max_size=3, unique_by=lambda job: job["name"]), st.sampled_from(["XXS", "M"]))
def test_what_is_exported_declares_the_same_jobs(definitions: list[dict[str, Any]], size: str):
    """As YAML and as JSON, whatever the daemon's defaults are; another daemon makes the same of it."""
    defaults = default_fields(size, "LOCAL")
    stored = []
    for number, definition in enumerate(definitions):
        fields, errors = checked(definition)
        assert errors == []
        stored.append({"namespace": "home", **defaults, **fields, "id": number, "created_by": "ann"})
    found = [exported(job, size, "LOCAL") for job in stored]
    for text in (as_yaml(found), as_json(found)):
        declared, problems = read_jobs(text, "x")
        assert problems == []
        assert all(step.action is PlanAction.NOTHING for step in make_plan(declared, stored, defaults))
        bare = {"namespace": "", **default_fields()}
        rebuilt = [
            {
                **bare,
                **job.fields,
                "name": job.name,
                "namespace": job.namespace,
                "id": number,
                "created_by": "ann",
            }
            for number, job in enumerate(declared)
        ]
        assert rebuilt == stored
    assert yaml.safe_load(as_yaml(found)) == {"jobs": found}
    assert read_documents(as_yaml(found))[0].plain() == {"jobs": found}


def test_what_is_the_default_is_left_out_unless_only_this_daemon_has_it():
    """Or another daemon would make something else of it."""
    job = {"id": 1, "name": "a", "namespace": "team", "docker_image_repo": "b", **default_fields("M", "far")}
    assert exported(job, "M", "far") == {
        "name": "a", "namespace": "team", "docker_image_repo": "b", "resource_size": "M", "region_name": "far",
    }  # fmt: skip
    usual = job | {"resource_size": "XXS", "region_name": "LOCAL"}
    assert set(exported(usual)) == {"name", "namespace", "docker_image_repo"}
    assert exported(usual, "M")["resource_size"] == "XXS"


@pytest.mark.parametrize(
    ("value", "written"),
    [("echo hi", "echo hi"), ("12:30", '"12:30"'), ("yes", '"yes"'), ("a\nb\n", "|\n      a\n      b"), ("", '""'), ("-c", "-c")],
)  # fmt: skip
def test_texts_are_written_as_one_would_write_them(value: str, written: str):
    """In quotes only where some reader might take them for something else; several lines as a block."""
    text = as_yaml([{"name": "a", "runtime_vars": {"A": value}}])
    assert f"    A: {written}\n" in text


def test_no_jobs_are_an_empty_list():
    """Which can be applied."""
    assert read_jobs(as_yaml([]), "x") == ([], [])
