"""Files that declare jobs: what they may hold, and what is said of mistakes."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

import pytest

from api.cli.declaring.form import FIELDS, IDENTITY, Declared, default_fields, find_twins, read_jobs, settle
from api.schemas.jobs import JobCreate

IMAGE = "docker_image_repo: busybox"


def read(text: str) -> list[Declared]:
    """The jobs of a text without mistakes."""
    jobs, problems = read_jobs(text, "jobs.yaml")
    assert problems == []
    return jobs


def test_jobs_are_read_from_several_documents():
    """Each with its place; empty documents are no mistake."""
    jobs = read(
        f"jobs:\n- {{name: a, {IMAGE}}}\n---\n---\njobs:\n- name: b\n  namespace: team\n  {IMAGE}\n---\njobs: []\n"
    )
    assert [(job.namespace, job.name, job.place) for job in jobs] == [
        (None, "a", "jobs.yaml:2"),
        ("team", "b", "jobs.yaml:6"),
    ]


def test_values_become_what_the_api_would_answer():
    """So that they can be compared with it."""
    text = (
        f"jobs:\n- name: a\n  {IMAGE}\n  capabilities: [cap_net_raw, NET_RAW]\n"
        "  mounts: [{source: /a//b/, target: /c}]\n  secret_files: {/run//s/db: {secret: db}}\n  runtime_vars: {AT: 12:30, N: 0123, P: {secret: db}}\n"
    )
    [job] = read(text)
    assert job.fields == {
        "docker_image_repo": "busybox",
        "capabilities": ["NET_RAW"],
        "mounts": [{"source": "/a/b", "target": "/c", "read_only": True}],
        "secret_files": {"/run/s/db": {"secret": "db"}},
        "runtime_vars": {"AT": "12:30", "N": "0123", "P": {"secret": "db"}},
    }


def test_every_field_of_the_api_has_its_place_and_its_default():
    """A new field of jobs cannot be forgotten here."""
    assert {*IDENTITY, *FIELDS} == set(JobCreate.model_fields)
    assert set(default_fields()) == set(FIELDS) - {"docker_image_repo"}
    assert default_fields("M", "far")["resource_size"] == "M"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "jobs.yaml: contains no jobs"),
        ("{}", "jobs.yaml:1: contains no jobs"),
        ("- a", "jobs.yaml:1: is not a mapping"),
        ("job:\n- a", "jobs.yaml:1: 'job' is unknown (did you mean 'jobs'?)"),
        ("jobs: 5", "jobs.yaml:1: jobs is not a list"),
        ("jobs:", "jobs.yaml:1: jobs is not a list"),
        ("jobs:\n- 5", "jobs.yaml:2: job 1 is not a mapping"),
        (f"jobs:\n- {IMAGE}", "jobs.yaml:2: job 1: name is required"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  max_retires: 3", "jobs.yaml:4: job 1 'a': max_retires is not a field of a job (did you mean 'max_retries'"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  docker_image_tag: 1.10", 'docker_image_tag is not a string (write it in quotes: "1.10")'),
        (f"jobs:\n- name: a\n  {IMAGE}\n  runtime_vars:\n    A: 1.50", 'jobs.yaml:5: job 1 \'a\': runtime_vars.A is not a string (write it in quotes: "1.50")'),
        (f"jobs:\n- name: a\n  {IMAGE}\n  runtime_vars:\n    A: true", 'write it in quotes: "true"'),
        (f"jobs:\n- name: a\n  {IMAGE}\n  priority: 010", "priority is not a whole number"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  id: 3", "id is read-only"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  schedule_mode: R/2026", "jobs.yaml:4: job 1 'a': schedule_mode"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  schedule_timezone: Berlin", "schedule_timezone"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  is_schedule_active: true", "is required when is_schedule_active is true"),
        (f"jobs:\n- name: a\n  {IMAGE}\n  command: 'echo \"x'", "cannot be split into words"),
        (f"jobs:\n- name: a\n  {IMAGE}\n---\njobs:\n- name: b", "jobs.yaml:6: document 2, job 1 'b': docker_image_repo is required"),
        ("jobs: [", "jobs.yaml:2: is not valid YAML"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_file_line_document_and_field(text: str, said: str):
    """And with what to write instead."""
    _, problems = read_jobs(text, "jobs.yaml")
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]


def test_all_mistakes_are_named_at_once():
    """Not one a try."""
    text = f"jobs:\n- name: a\n  {IMAGE}\n  prio: 1\n- name: b\n- name: c\n  {IMAGE}\n  user: '-'\n"
    _, problems = read_jobs(text, "x")
    assert [str(problem).split(": ")[0] for problem in problems] == ["x:4", "x:5", "x:8"]


def test_a_job_declared_twice_is_named_with_both_places():
    """Whether its namespace is written or is the caller's own."""
    jobs = settle(read(f"jobs:\n- {{name: a, {IMAGE}}}\n- {{name: a, namespace: team, {IMAGE}}}\n"), "team")
    [problem] = find_twins(jobs)
    assert str(problem).startswith(
        "jobs.yaml:3: job 'a' in namespace 'team' is already declared at jobs.yaml:2"
    )
    assert find_twins(settle(jobs[:1], "other")) == []
