"""Chronos' jobs: the examples of its manual, its defaults, and what has no counterpart."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.importing.cases import notes, one, taken

DOCKER_JOB = {
    "schedule": "R/2014-09-25T17:22:00Z/PT2M",
    "name": "dockerjob",
    "container": {
        "type": "DOCKER",
        "image": "libmesos/ubuntu",
        "network": "BRIDGE",
        "volumes": [{"containerPath": "/var/log/", "hostPath": "/logs/", "mode": "RW"}],
    },
    "cpus": "0.5",
    "mem": "512",
    "fetch": [],
    "command": "while sleep 10; do date =u %T; done",
}


def with_(**more: Any) -> str:
    """A small job with some more fields."""
    job = {
        "name": "a",
        "schedule": "R//PT1H",
        "cpus": 0.25,
        "mem": 128,
        "container": {"image": "x", "network": "BRIDGE"},
    }
    return json.dumps(job | more, indent=1)


def test_the_docker_job_of_the_manual_is_carried_over():
    """A shell runs its line; it waits for its predecessor and is tried twice again, as by default there."""
    assert one(json.dumps([DOCKER_JOB])) == {
        "name": "dockerjob",
        "docker_image_repo": "libmesos/ubuntu",
        "command": ["/bin/sh", "-c", "while sleep 10; do date =u %T; done"],
        "mounts": [{"source": "/logs", "target": "/var/log", "read_only": False}],
        "schedule_mode": "R/2014-09-25T17:22:00Z/PT2M",
        "is_schedule_active": True,
        "resource_size": "M",
        "max_retries": 2,
        "concurrency_policy": "forbid",
    }


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"shell": False, "command": "/x", "arguments": ["-a", "b c"]}, {"command": ["/x", "-a", "b c"]}),
        ({"command": ""}, {"command": None}),
        ({"environmentVariables": [{"name": "A", "value": "b=c"}]}, {"runtime_vars": {"A": "b=c"}}),
        ({"epsilon": "PT30M"}, {"misfire_policy": "skip", "misfire_grace_seconds": 1800}),
        ({"epsilon": "P1DT1S"}, {"misfire_grace_seconds": 86_401}),
        ({"retries": 5, "concurrent": True}, {"max_retries": 5, "concurrency_policy": "allow"}),
        ({"retries": 1000}, {"max_retries": 100}),
        ({"disabled": True}, {"is_schedule_active": False}),
        ({"maxCompletionTime": 60}, {"timeout_seconds": 60}),
        ({"container": {"image": "x:2", "forcePullImage": True, "network": "USER", "networkName": "net"}}, {"docker_image_tag": "2", "pull_policy": "always", "network": "net"}),
        ({"container": {"image": "x", "type": "MESOS", "networkInfos": [{"name": "mynet"}]}}, {"network": "mynet"}),
        ({"container": {"image": "x", "parameters": [{"key": "env", "value": "A=b"}, {"key": "user", "value": "5"}]}}, {"runtime_vars": {"A": "b"}, "user": "5"}),
        ({"schedule": "R/2014-10-10T18:32:00Z/PT60M", "scheduleTimeZone": "PST"}, {"schedule_mode": "R/2014-10-10T18:32:00/PT60M", "schedule_timezone": "America/Los_Angeles"}),
        ({"schedule": "R/2014-10-10T18:32:00.000+02:00/P1D", "scheduleTimeZone": "Europe/Paris"}, {"schedule_mode": "R/2014-10-10T18:32:00.000/P1D", "schedule_timezone": "Europe/Paris"}),
        ({"mem": 0, "cpus": 0}, {"resource_size": "XS"}),
    ],
)  # fmt: skip
def test_fields_have_their_meaning(more: dict[str, Any], fields: dict[str, Any]):
    """That of the manual's table."""
    job = {"command": None} | one(with_(**more))
    assert {name: job.get(name) for name in fields} == fields


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"owner": "a@b.c"}, "a.owner is not imported: set email_enabled"),
        ({"disk": 5}, "a.disk is not imported"),
        ({"constraints": [["rack", "EQUALS", "1"]]}, "a.constraints is not imported: set region_name"),
        ({"fetch": [{"uri": "x"}]}, "a.fetch is not imported"),
        ({"uris": ["x"]}, "a.uris is not imported"),
        ({"runAsUser": "x"}, "a.runAsUser is not imported"),
        ({"highPriority": True}, "a.highPriority is not imported: set priority"),
        ({"description": "x"}, "a.description is not imported"),
        ({"executor": "x"}, "a.executor is not imported"),
        ({"frobnicate": 1}, "a.frobnicate is not imported"),
        ({"arguments": ["x"]}, "a.arguments is not imported"),
        ({"command": "x"}, "if the image has an entrypoint"),
        ({"epsilon": "P1M"}, "a.epsilon 'P1M' is not a duration"),
        ({"cpus": "many"}, "a.cpus is 'many', which is not a number"),
        ({"retries": "1e99"}, "a.retries is '1e99'"),
        ({"disabled": "maybe"}, "neither true nor false"),
        ({"schedule": "R5/2014-03-08T20:00:00Z/PT2H"}, "a.schedule counts its 5 runs from its start"),
        ({"scheduleTimeZone": "Mars"}, "a.scheduleTimeZone is not imported"),
        ({"container": {"image": "x"}}, "does not name a network; Chronos uses the host's network then"),
        ({"container": {"image": "x", "network": "HOST"}}, "network host is not imported"),
        ({"container": {"image": "x", "volumes": [{"containerPath": "/t", "external": {"name": "v"}}]}}, "is not a directory of the host"),
        ({"container": {"image": "x", "parameters": [{"key": "a-docker-option", "value": "y"}]}}, "--a-docker-option y is not imported"),
        ({"container": {"image": "x", "type": "LXC"}}, "LXC is unknown"),
        ({"container": {"image": "x", "networkInfos": [{"name": "a"}, {"name": "b"}]}}, "a job has only one network"),
        ({"environmentVariables": "x"}, "a.environmentVariables is not a list"),
    ],
)  # fmt: skip
def test_what_has_no_field_is_noted(more: dict[str, Any], said: str):
    """With its path, and the line of the file."""
    found = notes(with_(**more))
    assert any(said in text for _, text in found), found
    assert one(with_(**more))["name"] == "a"


def test_a_dependent_job_is_there_without_a_schedule():
    """What it waited for is named."""
    text = json.dumps({"name": "b", "parents": ["x", "y"], "container": {"image": "i"}})
    assert "schedule_mode" not in one(text)
    assert any(
        "parents is not imported: the job is not started after x, y" in note for _, note in notes(text)
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"container": None}, "it has no container.image"),
        ({"schedule": "R/2014/PT"}, "the schedule"),
        ({"schedule": "every day"}, "the schedule"),
        ({"name": "x" * 300}, "name is too long"),
    ],
)
def test_a_job_that_cannot_be_is_left_out(more: dict[str, Any], said: str):
    """And said to be."""
    jobs, result = taken(with_(**more))
    assert jobs == []
    assert any(note.lost and said in note.text for note in result.notes)


def test_history_is_noted_once_for_the_whole_file():
    """It is in everything that the API answers."""
    job = json.loads(with_(successCount=190, errorCount=3, lastSuccess="2014-03-08T16:57:17.507Z"))
    _, result = taken(json.dumps([job, job | {"name": "b"}]))
    assert len([note for note in result.notes if "history of jobs" in note.text]) == 1
