"""The form in which files declare jobs: a list `jobs` of the API's own fields, checked as the API checks them. Pure.

    jobs:
      - name: nightly
        namespace: team
        docker_image_repo: timeball/busybox

Whatever can be known without a daemon is found out here, so that a file with a mistake changes nothing.
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

#: What says which job is meant.
IDENTITY: Final = ("namespace", "name")
#: All other fields of a job, in the order in which they are shown and written.
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
_OPTIONAL: Final = {name for name, one in JobCreate.model_fields.items() if not one.is_required()}
_TOP: Final = "jobs"


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One thing wrong in one file: `nightly.yaml:7: …`."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """One job as a file declares it.

    Attributes:
        namespace: None if the file leaves it to the caller.
        fields: those that the file names but for its identity, as the API would answer them.
        place: the file and the line where it stands.
    """

    namespace: str | None
    name: str
    fields: Mapping[str, Any]
    place: str


def read_jobs(text: str, file: str) -> tuple[list[Declared], list[FileProblem]]:
    """The jobs of one file, and what is wrong with it.

    Args:
        text: YAML or JSON.
        file: what it is called.
    """
    try:
        documents = read_documents(text)
    except DocumentError as error:
        return [], [FileProblem(f"{_at(file, error.line)}: {error.message}")]
    if not documents:
        return [], [FileProblem(f"{file}: holds no jobs: write 'jobs:' and a list of them below it")]
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
    """The jobs with the namespace of those that name none."""
    return [job if job.namespace is not None else replace(job, namespace=home) for job in jobs]


def find_twins(jobs: Iterable[Declared]) -> list[FileProblem]:
    """What is declared more than once."""
    seen: dict[tuple[str | None, str], Declared] = {}
    problems = []
    for job in jobs:
        first = seen.setdefault((job.namespace, job.name), job)
        if first is not job:
            problems.append(
                FileProblem(
                    f"{job.place}: job '{job.name}' of namespace '{job.namespace}' stands at {first.place} already: "
                    "declare it once"
                )
            )
    return problems


def checked(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """A job's fields as the API would answer them, and what it would refuse.

    Args:
        fields: as JSON has them.
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
    """What fields are that a file does not name.

    Args:
        size: the daemon's default size.
        region: its default region.
    """
    bare = JobDefinition(name="", namespace="", docker_image_repo="")
    found = {name: _as_json(getattr(bare, name)) for name in FIELDS if name != "docker_image_repo"}
    return {**found, "resource_size": size, "region_name": region}


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_as_json(one) for one in value]
    return str(value) if isinstance(value, str) else value


def _entries(document: Node, file: str, prefix: str, problems: list[FileProblem]) -> Sequence[Node]:
    where = _at(file, document.line)
    if not isinstance(document.value, dict):
        problems.append(
            FileProblem(f"{where}: {prefix}is no mapping: write 'jobs:' and a list of them below it")
        )
        return ()
    for name in document.value:
        if name != _TOP:
            near = " (did you mean 'jobs'?)" if difflib.get_close_matches(name, [_TOP]) else ""
            hint = near or ": there is only 'jobs', a list of jobs with the API's fields"
            problems.append(
                FileProblem(
                    f"{_at(file, document.lines.get(name))}: {prefix}'{name}' is not known here{hint}"
                )
            )
    entries = document.value.get(_TOP)
    if entries is None:
        if not document.value:
            problems.append(FileProblem(f"{where}: {prefix}holds no jobs: write 'jobs:' and a list of them"))
        return ()
    if not isinstance(entries.value, list):
        line = _at(file, document.lines.get(_TOP))
        problems.append(
            FileProblem(f"{line}: {prefix}jobs is no list: begin each job with '-', or write [] for none")
        )
        return ()
    return list(entries.value)


def _job(entry: Node, file: str, what: str) -> Declared | list[FileProblem]:
    if not isinstance(entry.value, dict):
        return [
            FileProblem(
                f"{_at(file, entry.line)}: {what} is no mapping: write its fields, such as name: nightly"
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
    """A mistake in one line; a scalar is shown as it was written.

    Args:
        error: the mistake.
        node: the value that it is about.
    """
    remedy = error.remedy
    written = node.text if node is not None and not isinstance(node.value, str | dict | list) else None
    if written and "is not a string" in error.message:
        remedy = f'write it in quotes: "{written}"'
    return f"{error.field} {error.message} ({remedy})"


def _at(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"
