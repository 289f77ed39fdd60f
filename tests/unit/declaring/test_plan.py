"""Plans: what differs, what does not although it looks so, and what is sent."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

from typing import Any

import pytest

from api.cli.declaring.form import Declared, default_fields
from api.cli.declaring.plan import FieldChange, PlanAction, PlanStep, make_plan
from api.cli.declaring.showing import StepOutcome, StepStatus, as_data, shown, summary


def declared(name: str = "a", namespace: str = "team", **fields: Any) -> Declared:
    """A job of a file."""
    given = {"docker_image_repo": "busybox", **fields}
    return Declared(namespace=namespace, name=name, fields=given, place="jobs.yaml:2")


def stored(name: str = "a", namespace: str = "team", **fields: Any) -> dict[str, Any]:
    """A job as the API answers it."""
    return (
        {"id": 7, "name": name, "namespace": namespace, "docker_image_repo": "busybox"}
        | default_fields()
        | fields
    )


def plan(job: Declared, *there: dict[str, Any], pruned: tuple[str, ...] = ()) -> list[PlanStep]:
    """The plan for one job."""
    return make_plan([job], there, default_fields(), pruned=pruned)


def test_a_job_that_is_not_there_is_created_with_what_is_declared():
    """What is left out is left to the daemon."""
    [step] = plan(declared(max_retries=3, priority=0))
    assert (step.action, step.body) == (
        PlanAction.CREATE,
        {"name": "a", "namespace": "team", "docker_image_repo": "busybox", "max_retries": 3, "priority": 0},
    )
    assert list(step.changes) == ["docker_image_repo", "max_retries"]


def test_a_field_that_is_left_out_gets_its_default_again():
    """That is what declaring means."""
    [step] = plan(declared(), stored(max_retries=3, user="1000", labels={"a": "b"}))
    assert step.body == {"max_retries": 0, "user": None, "labels": {}}
    assert step.changes["labels.a"] == FieldChange("b", None)


def test_variables_differ_entry_by_entry():
    """Their order means nothing; a secret stays a reference."""
    before = {"A": "1", "B": "2", "S": {"secret": "x"}}
    [step] = plan(
        declared(runtime_vars={"S": {"secret": "y"}, "C": "3", "A": "1"}), stored(runtime_vars=before)
    )
    assert step.changes == {
        "runtime_vars.B": FieldChange("2", None),
        "runtime_vars.C": FieldChange(None, "3"),
        "runtime_vars.S": FieldChange({"secret": "x"}, {"secret": "y"}),
    }
    [same] = plan(
        declared(runtime_vars={"B": "2", "S": {"secret": "x"}, "A": "1"}), stored(runtime_vars=before)
    )
    assert same.action is PlanAction.NOTHING


@pytest.mark.parametrize(
    ("wanted", "have"),
    [
        ({"schedule_mode": "R3//PT5S"}, {"schedule_mode": "R3/2026-01-31T09:00:00.000Z/PT5S"}),
        ({"schedule_mode": "R//P1M"}, {"schedule_mode": "R//P1M"}),
        ({"pin_digest": True}, {"pin_digest": True, "docker_image_digest": "sha256:" + "0" * 64}),
        ({"retry_on": ["timeout", "exit_code"]}, {"retry_on": ["exit_code", "timeout"]}),
        ({"mounts": [{"source": "/a", "target": "/b", "read_only": True}]}, {"mounts": [{"read_only": True, "target": "/b", "source": "/a"}]}),
        ({"command": None, "priority": 0}, {}),
    ],
)  # fmt: skip
def test_what_the_daemon_fills_in_is_no_difference(wanted: dict[str, Any], have: dict[str, Any]):
    """Nor is the order of what has none."""
    [step] = plan(declared(**wanted), stored(**have))
    assert (step.action, step.body) == (PlanAction.NOTHING, {})


@pytest.mark.parametrize(
    ("wanted", "have", "changed"),
    [
        (
            {"schedule_mode": "R3//PT5S"},
            {"schedule_mode": "R4/2026-01-31T09:00:00.000Z/PT5S"},
            {"schedule_mode"},
        ),
        (
            {"schedule_mode": "R3//PT5S"},
            {"schedule_mode": "R3/2026-01-31T09:00:00.000Z/PT6S"},
            {"schedule_mode"},
        ),
        (
            {"schedule_mode": "R3/2026-01-31T09:00:00.000Z/PT5S"},
            {"schedule_mode": "R3//PT5S"},
            {"schedule_mode"},
        ),
        ({"command": "echo a"}, {"command": ["echo", "a"]}, {"command"}),
        ({}, {"docker_image_digest": "sha256:" + "0" * 64}, {"docker_image_digest"}),
        (
            {"namespace": "team"},
            {"mounts": [{"source": "/a", "target": "/b", "read_only": True}]},
            {"mounts"},
        ),
    ],
)
def test_what_really_differs_is_seen(wanted: dict[str, Any], have: dict[str, Any], changed: set[str]):
    """Though it looks alike."""
    wanted.pop("namespace", None)
    [step] = plan(declared(**wanted), stored(**have))
    assert set(step.body) == changed


def test_a_schedule_without_a_start_begins_anew_when_it_is_switched_on():
    """Its old start would have it go on where it was."""
    have = {"schedule_mode": "R3/2020-01-31T09:00:00.000Z/PT5S", "is_schedule_active": False}
    [step] = plan(declared(schedule_mode="R3//PT5S", is_schedule_active=True), stored(**have))
    assert step.body == {"schedule_mode": "R3//PT5S", "is_schedule_active": True}


def test_a_declared_digest_is_sent_again_with_a_new_image():
    """The daemon forgets it with the image that it was of."""
    digest = "sha256:" + "1" * 64
    [step] = plan(
        declared(docker_image_tag="2", docker_image_digest=digest), stored(docker_image_digest=digest)
    )
    assert step.body == {"docker_image_tag": "2", "docker_image_digest": digest}


def test_only_the_named_namespaces_are_pruned():
    """What is deleted comes last."""
    there = [stored(), stored("b"), stored("c", "other")]
    steps = plan(declared("new"), *there, pruned=("team",))
    assert [(step.action, step.namespace, step.name) for step in steps] == [
        (PlanAction.CREATE, "team", "new"),
        (PlanAction.DELETE, "team", "a"),
        (PlanAction.DELETE, "team", "b"),
    ]
    assert [step.action for step in plan(declared("new"), *there)] == [PlanAction.CREATE]


def test_a_field_that_the_daemon_does_not_know_is_sent_only_if_it_is_declared():
    """An older daemon then refuses it by name."""
    older = stored()
    del older["retention_days"]
    assert plan(declared(), older)[0].action is PlanAction.NOTHING
    assert plan(declared(retention_days=None), older)[0].action is PlanAction.NOTHING
    assert plan(declared(retention_days=3), older)[0].body == {"retention_days": 3}


def test_a_plan_is_shown_without_what_would_steer_a_terminal():
    """And long values are cut, with their length."""
    [step] = plan(declared("a\x1b[31m", command="x" * 1000, runtime_vars={"A": "\x1b"}))
    text = shown(step)
    assert "\x1b[31m'" not in text
    assert "… (1002 characters)" in text
    [same] = plan(declared(), stored())
    assert shown(same) == ""


def test_outcomes_are_summed_up_for_people_and_programs():
    """With what was refused, and what was not tried."""
    steps = plan(declared("new"), stored(), stored("b"), pruned=("team",))
    outcomes = [
        StepOutcome(steps[0], StepStatus.FAILED, "no"),
        *(StepOutcome(step, StepStatus.SKIPPED) for step in steps[1:]),
    ]
    assert summary(outcomes, is_dry=False) == "1 failed, 2 skipped."
    assert summary([], is_dry=False) == "Nothing to do."
    assert summary([StepOutcome(step, StepStatus.PLANNED) for step in steps], is_dry=True) == (
        "Dry run: 1 to create, 2 to delete. Nothing was changed."
    )
    data = as_data(outcomes, is_dry=False)
    assert data["jobs"][0] | {"changes": None} == {
        "action": "create", "namespace": "team", "name": "new", "id": None, "status": "failed",
        "changes": None, "error": "no",
    }  # fmt: skip
