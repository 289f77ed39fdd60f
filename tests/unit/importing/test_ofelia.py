"""Ofelia's jobs in INI files, Compose files and labels: the examples of its documentation, and what is otherwise."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.importing.ofelia_files import read_ini
from tests.unit.importing.cases import notes, one, taken

README = """\
[job-exec "job-executed-on-running-container"]
schedule = @hourly
container = my-container
command = touch /tmp/example

[job-run "job-executed-on-new-container"]
schedule = @hourly
image = ubuntu:latest
command = touch /tmp/example

[job-local "job-executed-on-current-host"]
schedule = @hourly
command = touch /tmp/example


[job-service-run "service-executed-on-new-container"]
schedule = 0,20,40 * * * *
image = ubuntu
network = swarm_network
command =  touch /tmp/example
"""


def section(*lines: str, kind: str = "job-run") -> str:
    """A job of an INI file."""
    return "\n".join((f'[{kind} "a"]', "schedule = @every 5s", "image = alpine:3", *lines)) + "\n"


def test_the_example_of_the_readme_is_carried_over():
    """What runs in other containers or on the machine itself is named, with its line."""
    jobs, result = taken(README)
    assert jobs == [
        {
            "name": "job-executed-on-new-container",
            "docker_image_repo": "ubuntu",
            "docker_image_tag": "latest",
            "command": "touch /tmp/example",
            "schedule_mode": "@hourly",
            "is_schedule_active": True,
            "pull_policy": "always",
        },
        {
            "name": "service-executed-on-new-container",
            "docker_image_repo": "ubuntu",
            "command": "touch /tmp/example",
            "network": "swarm_network",
            "schedule_mode": "0,20,40 * * * *",
            "is_schedule_active": True,
        },
    ]
    assert [(note.line, note.text.split(" is not")[0]) for note in result.notes if note.lost] == [
        (1, "job-exec 'job-executed-on-running-container'"),
        (11, "job-local 'job-executed-on-current-host'"),
    ]


def test_the_job_run_of_the_reference_is_carried_over():
    """Parameters that come several times, and a shell's line in quotes."""
    job = one(
        '[job-run "print-write-date"]\nschedule = @every 5s\nimage = alpine:latest\n'
        "command = sh -c 'date | tee -a /tmp/test/date'\nvolume = /tmp/test:/tmp/test:rw\n"
        "environment = FOO=bar\nenvironment = BAZ=qux\n"
    )
    assert (job["schedule_mode"], job["command"]) == ("R//PT5S", "sh -c 'date | tee -a /tmp/test/date'")
    assert job["runtime_vars"] == {"FOO": "bar", "BAZ": "qux"}
    assert job["mounts"] == [{"source": "/tmp/test", "target": "/tmp/test", "read_only": False}]  # noqa: S108


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["user = www-data", "network = back", "Pull = false"], {"user": "www-data", "network": "back", "pull_policy": None}),
        (["no-overlap = true"], {"concurrency_policy": "forbid"}),
        (["no-overlap"], {"concurrency_policy": "forbid"}),
        (["no-overlap = false"], {"concurrency_policy": None}),
        (["SCHEDULE = 0 30 4 * * *"], {"schedule_mode": "30 4 * * *"}),
        (["schedule = TZ=Asia/Tokyo 0 6 * * *"], {"schedule_mode": "0 6 * * *", "schedule_timezone": "Asia/Tokyo"}),
        (['command = "echo \\"a; b\\" # c" ; comment'], {"command": 'echo "a; b" # c'}),
        (["command = echo a # comment"], {"command": "echo a"}),
        (["command = echo a \\", "  b"], {"command": "echo a   b"}),
    ],
)  # fmt: skip
def test_parameters_have_their_meaning(lines: list[str], fields: dict[str, Any]):
    """Names in any case; the last value counts."""
    job = one(section(*lines))
    assert {name: job.get(name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[global]\nslack-webhook = x\n" + section(), 2, "slack-webhook is not imported: create a webhook"),
        ("[global]\nsave-folder = x\n" + section(), 2, "stored in their logs"),
        ("a = b\n" + section(), 1, "a is outside of any section"),
        (section("!"), 4, "'!' is not a valid INI line"),
        (section('user = "x'), 4, "user has an unclosed quote"),
        (section("hostname = x"), 4, "job-run 'a': hostname is not imported"),
        (section("volumes-from = x"), 4, "volumes-from is not imported: mount directories"),
        (section("tty = true"), 4, "tty is not imported"),
        (section("delete = false"), 4, "delete is not imported: the containers"),
        (section("volume = data:/x"), 4, "the named volume 'data'"),
        (section("environment = A"), 4, "variable A takes its value"),
        (section("network = host"), 4, "network host is not imported"),
        (section("command = echo 'a"), 4, "command has an unclosed quote"),
        (section("mail-only-on-error = true"), 4, "create a webhook"),
        (section("restart-policy = x"), 4, "there is no equivalent"),
        (section("schedule = @every 1500ms"), 2, "is rounded to 1 s"),
        (section(kind="job-service-run"), 1, "is a swarm service in Ofelia"),
    ],
)
def test_what_has_no_field_is_noted(text: str, line: int, said: str):
    """With its line; the job is there."""
    assert any(number == line and said in note for number, note in notes(text)), notes(text)
    assert one(text)["name"] == "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[job-run "a"]\nimage = x\nschedule = */7 * * * * *\n', "has seconds"),
        ('[job-run "a"]\nimage = x\n', "the schedule ''"),
        ('[job-run "a"]\nschedule = @daily\n', "it has no image"),
        ('[job-run "a"]\nschedule = @daily\ncontainer = x\n', "it starts an existing container"),
        ('[job-frob "a"]\nschedule = @daily\n', "the kind is unknown"),
        ('[job-run ""]\nschedule = @daily\nimage = x\n', "name is empty"),
    ],
)
def test_a_job_that_cannot_be_is_left_out(text: str, said: str):
    """And said to be."""
    jobs, result = taken(text)
    assert jobs == []
    assert any(note.lost and said in note.text for note in result.notes)


COMPOSE = """\
services:
  nginx:
    image: &image alpine:3.23.3
    labels:
      ofelia.enabled: "true"
      ofelia.job-exec.datecron.schedule: "@every 5s"
      ofelia.job-exec.datecron.command: "uname -a"
  ofelia:
    labels:
      ofelia.save-folder: /tmp
      ofelia.job-run.my-run-job.schedule: &schedule ${SCHEDULE:-@every 5s}
      ofelia.job-run.my-run-job.command: /bin/sh -c 'date | tee -a /tmp/$${OUTPUT_FILE}'
      ofelia.job-run.my-run-job.image: *image
      ofelia.job-run.my-run-job.environment: '["OUTPUT_FILE=run.txt", "A=$B"]'
      ofelia.broken: x
      ofelia.job-run.broken: x
      traefik.enable: ${X}
  other:
    labels: ["ofelia.job-run.from-list.image=alpine", "ofelia.job-run.from-list.schedule=@daily", "x"]
"""


def test_labels_of_a_compose_file_are_read():
    """Mappings and lists, with what Compose fills in."""
    jobs, result = taken(COMPOSE)
    assert [job["name"] for job in jobs] == ["my-run-job", "from-list"]
    assert jobs[0]["command"] == "/bin/sh -c 'date | tee -a /tmp/${OUTPUT_FILE}'"
    assert jobs[0]["schedule_mode"] == "R//PT5S"
    assert jobs[0]["docker_image_tag"] == "3.23.3"
    assert jobs[0]["runtime_vars"] == {"OUTPUT_FILE": "run.txt", "A": "$B"}
    said = [(note.line, note.text) for note in result.notes]
    for line, text in ((6, "job-exec 'datecron' is not"), (11, "its default '@every 5s' is used"), (14, "$B is set by Compose"), (15, "broken is not"), (16, "its name is not ofelia.KIND")):  # fmt: skip
        assert any(number == line and text in words for number, words in said), (line, text, said)
    assert not any("traefik" in words for _, words in said)


def test_labels_that_docker_inspect_prints_are_read():
    """Of one container or several."""
    labels = {"ofelia.job-run.a.b.image": "alpine", "ofelia.job-run.a.b.schedule": "@daily", "other": "x"}
    [job] = taken(
        json.dumps([{"Name": "/ofelia", "Config": {"Labels": labels}}, {"Config": {"Labels": None}}])
    )[0]
    assert job["name"] == "a.b"


@settings(deadline=None)
@given(st.text(alphabet='[]job-run "a=\\#;\n@every5s image', max_size=80))
def test_no_ini_breaks_the_reader(text: str):
    """Whatever stands in it."""
    read_ini(text)
    read_ini(section(text))
