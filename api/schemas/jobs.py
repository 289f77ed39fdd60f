"""Jobs on the wire: what users send to define one, and what they receive."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.common import Input, Moment, Output, refuse
from scheduler.execution import ExecStatus, FailReason, TriggerMode
from scheduler.job import ConcurrencyPolicy, MisfirePolicy, PullPolicy, ScheduleState
from scheduler.service import JobView

#: A year; longer times are mistakes of unit.
LONGEST_SECONDS: Final = 366 * 24 * 3600
LARGEST_COMMAND_BYTES: Final = 128 * 1024
#: Linux takes no single variable beyond 128 KiB, name and value together.
LARGEST_VARIABLE_BYTES: Final = 128 * 1024 - 2
LARGEST_VARIABLES_BYTES: Final = 512 * 1024
MOST_ENTRIES: Final = 1_000

# The grammar of image names, from the distribution project's reference package.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
_REPOSITORY = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NAMESPACE = re.compile(r"\w[\w.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,126}[A-Za-z0-9])?", re.ASCII)


def _check_name(name: str) -> str:
    if not name.strip():
        raise refuse("is empty", "give the job a name")
    if name != name.strip():
        raise refuse("begins or ends with white space", "remove it")
    if not name.isprintable():
        raise refuse("holds a control character", "use printable characters")
    return name


def _check_namespace(name: str) -> str:
    if not _NAMESPACE.fullmatch(name):
        raise refuse(
            "is not a namespace's name",
            "use letters, digits, '.', '_' and '-', at most 100, beginning with a letter or digit",
        )
    return name


def _check_repository(repository: str) -> str:
    if _REPOSITORY.fullmatch(repository):
        return repository
    head, colon, tail = repository.rpartition(":")
    if "@" in repository:
        remedy = "leave out what follows '@'"
    elif colon and _REPOSITORY.fullmatch(head) and _TAG.fullmatch(tail):
        remedy = f'write "docker_image_repo": "{head}" and "docker_image_tag": "{tail}"'
    elif _REPOSITORY.fullmatch(repository.lower()):
        remedy = f"image names are in lower case: {repository.lower()}"
    elif "://" in repository:
        remedy = "leave out the scheme: registry.example.com/team/image"
    else:
        remedy = "write it like busybox, team/image or registry.example.com:5000/team/image"
    raise refuse("is not the name of an image repository", remedy)


def _check_tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise refuse(
            "is not an image tag",
            "use letters, digits, '_', '.' and '-', at most 128, beginning with a letter, digit or '_'",
        )
    return tag


def _check_text(text: str) -> str:
    if "\x00" in text:
        raise refuse("holds a NUL character", "remove it")
    return text


def _check_command(command: str | list[str] | None) -> str | list[str] | None:
    words = [command] if isinstance(command, str) else command or []
    for word in words:
        _check_text(word)
    if sum(len(word.encode()) for word in words) > LARGEST_COMMAND_BYTES:
        raise refuse(f"is longer than {LARGEST_COMMAND_BYTES} bytes", "put the script into the image")
    return command


def _check_variables(variables: dict[str, str]) -> dict[str, str]:
    if len(variables) > MOST_ENTRIES:
        raise refuse(f"has {len(variables)} entries", f"use {MOST_ENTRIES} at most")
    total = 0
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise refuse(
                f"has an entry named {name!r}, which is no variable's name",
                "use letters, digits, '_', '.' and '-', beginning with a letter or '_'",
            )
        if "\x00" in value:
            raise refuse(f"holds a NUL character in {name}", "remove it")
        size = len(name.encode()) + len(value.encode())
        if size > LARGEST_VARIABLE_BYTES:
            raise refuse(
                f"has {size} bytes in {name}", f"use {LARGEST_VARIABLE_BYTES} bytes a variable at most"
            )
        total += size
    if total > LARGEST_VARIABLES_BYTES:
        raise refuse(f"has {total} bytes in all", f"use {LARGEST_VARIABLES_BYTES} bytes at most")
    return variables


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MOST_ENTRIES:
        raise refuse(f"has {len(labels)} entries", f"use {MOST_ENTRIES} at most")
    for name, value in labels.items():
        if not _LABEL.fullmatch(name):
            raise refuse(
                f"has an entry named {name!r}, which is no label's name",
                "use letters, digits, '.', '_', '-' and '/', at most 128",
            )
        if len(value) > 1_000 or not (value.isprintable() or value == ""):
            raise refuse(
                f"has a value for {name} that is too long or not printable", "use 1000 characters at most"
            )
    return labels


Name = Annotated[str, StringConstraints(max_length=200), AfterValidator(_check_name)]
Namespace = Annotated[str, AfterValidator(_check_namespace)]
Repository = Annotated[str, StringConstraints(max_length=255), AfterValidator(_check_repository)]
Tag = Annotated[str, AfterValidator(_check_tag)]
Text = Annotated[str, StringConstraints(max_length=1_000), AfterValidator(_check_text)]
CommandIn = Annotated[str | list[str] | None, AfterValidator(_check_command)]
Variables = Annotated[dict[str, str], AfterValidator(_check_variables)]
Labels = Annotated[dict[str, str], AfterValidator(_check_labels)]


class _JobFields(Input):
    """The fields of a job that have a default; the daemon's settings give those of size and region."""

    namespace: Namespace = ""
    docker_image_tag: Tag = "latest"
    command: CommandIn = None
    resource_size: Text = ""
    region_name: Text = ""
    runtime_vars: Variables = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    email_enabled: bool = False
    is_schedule_active: bool = False
    schedule_mode: Text | None = None
    schedule_timezone: Text | None = None
    misfire_policy: MisfirePolicy = MisfirePolicy.LATEST
    misfire_grace_seconds: int = Field(default=1, ge=0, le=LONGEST_SECONDS)
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.ALLOW
    timeout_seconds: int | None = Field(default=None, ge=1, le=LONGEST_SECONDS)
    stop_grace_seconds: int = Field(default=10, ge=0, le=3600)
    max_retries: int = Field(default=0, ge=0, le=100)
    retry_backoff_seconds: int = Field(default=10, ge=0, le=24 * 3600)
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as `JobDefinition` takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class JobCreate(_JobFields):
    """The body of `POST /v1/jobs`."""

    name: Name
    docker_image_repo: Repository


class JobChange(_JobFields):
    """The body of `PUT` and `PATCH /v1/jobs/{id}`: what it names changes, the rest stays."""

    name: Name = ""
    docker_image_repo: Repository = ""


class LastExecOut(Output):
    """A job's newest run, in short."""

    id: str
    status: ExecStatus
    trigger_mode: TriggerMode
    created_at: Moment
    scheduled_for: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    exit_code: int | None
    fail_reason: FailReason | None


class _JobOut(Output):
    id: int
    name: str
    namespace: str
    command: str | list[str] | None
    docker_image_repo: str
    docker_image_tag: str
    resource_size: str
    region_name: str
    is_schedule_active: bool
    schedule_mode: str | None
    schedule_timezone: str | None
    email_enabled: bool
    labels: dict[str, str]
    misfire_policy: MisfirePolicy
    misfire_grace_seconds: int
    concurrency_policy: ConcurrencyPolicy
    timeout_seconds: int | None
    stop_grace_seconds: int
    max_retries: int
    retry_backoff_seconds: int
    pull_policy: PullPolicy
    created_by: str
    created_at: Moment
    updated_at: Moment
    next_run_at: Moment | None
    schedule_state: ScheduleState
    last_exec: LastExecOut | None


class JobOut(_JobOut):
    """A job, as users receive it."""

    runtime_vars: dict[str, str]

    @classmethod
    def of(cls, view: JobView) -> Self:
        """The shape of a job."""
        return cls(**job_values(view), runtime_vars=dict(view.job.definition.runtime_vars))


def job_values(view: JobView) -> dict[str, Any]:
    """The values of a job's fields on the wire, all but its variables."""
    job, last = view.job, view.last_exec
    definition = job.definition
    return {
        **{
            name: getattr(definition, name)
            for name in _JobFields.model_fields
            if name not in {"runtime_vars", "labels"}
        },
        "name": definition.name,
        "docker_image_repo": definition.docker_image_repo,
        "labels": dict(definition.labels),
        "id": job.id,
        "created_by": job.created_by,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "next_run_at": job.cursor.next_due_at,
        "schedule_state": job.schedule_state,
        "last_exec": None
        if last is None
        else LastExecOut(**{name: getattr(last, name) for name in LastExecOut.model_fields}),
    }


#: Fields that only answers have.
READ_ONLY: Final = tuple(sorted(set(JobOut.model_fields) - set(JobCreate.model_fields)))
