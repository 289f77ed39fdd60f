"""The format of files that declare jobs: a list `jobs` with the fields of the API, checked like the API. Pure.

    jobs:
      - name: nightly
        namespace: team
        docker_image_repo: timeball/busybox

Everything that can be checked without a daemon is checked here, so that a file with an error changes nothing.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from api.cli.declaring.documents import DocumentError, Node, read_documents
from api.schemas.common import invalid_input
from api.schemas.jobs import READ_ONLY, JobCreate
from scheduler.domain.errors import FieldError, InvalidInputError
from scheduler.domain.job import DEFAULT_SIZE, LOCAL_REGION, JobDefinition
from scheduler.domain.secret import REFERENCE
from scheduler.policy.job_rules import check_command, check_schedule

#: The fields that identify a job.
IDENTITY: Final = ("namespace", "name")
#: All other fields of a job, in display order.
FIELDS: Final = tuple(
    dict.fromkeys(
        (
            "docker_image_repo",
            "docker_image_tag",
            "command",
            "runtime_vars",
            "labels",
            "schedule_mode",
            "schedule_timezone",
            "is_schedule_active",
            "resource_size",
            "region_name",
            *(name for name in JobCreate.model_fields if name not in IDENTITY),
        )
    )
)
_OPTIONAL: Final = {name for name, field in JobCreate.model_fields.items() if not field.is_required()}
_TOP: Final = "jobs"


@dataclass(frozen=True, slots=True)
class FileProblem:
    """An error in a file: `nightly.yaml:7: …`."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A job as declared in a file.

    Attributes:
        namespace: the namespace; None if the file does not name one.
        fields: the other fields set in the file, as the API would return them.
        place: the file and line of the declaration.
    """

    namespace: str | None
    name: str
    fields: Mapping[str, Any]
    place: str


def read_jobs(text: str, file: str) -> tuple[list[Declared], list[FileProblem]]:
    """The jobs in a file, and its errors.

    Args:
        text: YAML or JSON.
        file: the name of the file.
    """
    try:
        documents = read_documents(text)
    except DocumentError as error:
        return [], [FileProblem(f"{_at(file, error.line)}: {error.message}")]
    if not documents:
        return [], [FileProblem(f"{file}: contains no jobs; write 'jobs:' with a list of jobs below it")]
    jobs: list[Declared] = []
    problems: list[FileProblem] = []
    for number, document in enumerate(documents, 1):
        prefix = f"document {number}, " if len(documents) > 1 else ""
        entries = _entries(document, file, prefix, problems)
        for place, entry in enumerate(entries, 1):
            found = _job(entry, file, f"{prefix}job {place}")
            if isinstance(found, Declared):
                jobs.append(found)
            else:
                problems += found
    return jobs, problems


def settle(jobs: Iterable[Declared], home: str) -> list[Declared]:
    """The jobs, with a namespace set for those that do not name one."""
    return [job if job.namespace is not None else replace(job, namespace=home) for job in jobs]


def find_twins(jobs: Iterable[Declared]) -> list[FileProblem]:
    """Errors for jobs that are declared more than once."""
    seen: dict[tuple[str | None, str], Declared] = {}
    problems = []
    for job in jobs:
        first = seen.setdefault((job.namespace, job.name), job)
        if first is not job:
            problems.append(
                FileProblem(
                    f"{job.place}: job '{job.name}' in namespace '{job.namespace}' is already declared at "
                    f"{first.place}; declare it once"
                )
            )
    return problems


def checked(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """A job's fields as the API would return them, and the errors that it would report.

    Args:
        fields: the fields as JSON values.
    """
    try:
        model = JobCreate.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        names = tuple(JobCreate.model_fields)
        refusal = invalid_input(error, fields=names, optional=_OPTIONAL, read_only=READ_ONLY, what="job")
        return {}, list(refusal.errors)
    except InvalidInputError as error:
        return {}, list(error.errors)
    errors = [
        *check_command(model.command),
        *check_schedule(model.schedule_mode, model.schedule_timezone, is_active=model.is_schedule_active),
    ]
    found = model.model_dump(mode="json", exclude_unset=True)
    if "mounts" in found:
        found["mounts"] = [mount.model_dump(mode="json") for mount in model.mounts]
    if "secret_files" in found:
        found["secret_files"] = {path: {REFERENCE: name} for path, name in model.secret_files.items()}
    return found, errors


def default_fields(size: str = DEFAULT_SIZE, region: str = LOCAL_REGION) -> dict[str, Any]:
    """The values of fields that a file does not set.

    Args:
        size: the daemon's default size.
        region: the daemon's default region.
    """
    bare = JobDefinition(name="", namespace="", docker_image_repo="")
    found = {name: _as_json(getattr(bare, name)) for name in FIELDS if name != "docker_image_repo"}
    return {**found, "resource_size": size, "region_name": region}


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_as_json(element) for element in value]
    return str(value) if isinstance(value, str) else value


def _entries(document: Node, file: str, prefix: str, problems: list[FileProblem]) -> Sequence[Node]:
    where = _at(file, document.line)
    if not isinstance(document.value, dict):
        problems.append(
            FileProblem(f"{where}: {prefix}is not a mapping; write 'jobs:' with a list of jobs below it")
        )
        return ()
    for name in document.value:
        if name != _TOP:
            near = " (did you mean 'jobs'?)" if difflib.get_close_matches(name, [_TOP]) else ""
            hint = near or "; the only entry is 'jobs', a list of jobs with the fields of the API"
            problems.append(
                FileProblem(f"{_at(file, document.lines.get(name))}: {prefix}'{name}' is unknown{hint}")
            )
    entries = document.value.get(_TOP)
    if entries is None:
        if not document.value:
            problems.append(
                FileProblem(f"{where}: {prefix}contains no jobs; write 'jobs:' with a list of jobs")
            )
        return ()
    if not isinstance(entries.value, list):
        line = _at(file, document.lines.get(_TOP))
        problems.append(
            FileProblem(
                f"{line}: {prefix}jobs is not a list; start each job with '-', or write [] for no jobs"
            )
        )
        return ()
    return list(entries.value)


def _job(entry: Node, file: str, what: str) -> Declared | list[FileProblem]:
    if not isinstance(entry.value, dict):
        return [
            FileProblem(
                f"{_at(file, entry.line)}: {what} is not a mapping; write its fields, such as name: nightly"
            )
        ]
    given = entry.plain()
    if isinstance(given.get("name"), str):
        what += f" '{given['name'][:80]}'"
    fields, errors = checked(given)
    problems = []
    for error in errors:
        node, line = entry.at(error.field)
        problems.append(FileProblem(f"{_at(file, line)}: {what}: {explain(error, node)}"))
    if problems:
        return problems
    name, namespace = fields.pop("name"), fields.pop("namespace", None)
    return Declared(namespace=namespace, name=name, fields=fields, place=_at(file, entry.line))


def explain(error: FieldError, node: Node | None = None) -> str:
    """An error on one line, with scalars as they were written.

    Args:
        error: the error.
        node: the value that the error is about.
    """
    remedy = error.remedy
    written = node.text if node is not None and not isinstance(node.value, str | dict | list) else None
    if written and "is not a string" in error.message:
        remedy = f'write it in quotes: "{written}"'
    return f"{error.field} {error.message} ({remedy})"


def _at(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"
