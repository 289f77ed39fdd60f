"""Callers: who they are, what they may do, and which jobs and runs they can see.

Callers get 'not found' for anything they may not see. Reads the store inside the use case's own transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from sqlalchemy.engine import Connection

from scheduler.domain.errors import ConflictError, ForbiddenError, NotFoundError
from scheduler.domain.execution import Exec
from scheduler.domain.filters import JobFilter
from scheduler.domain.job import Job
from scheduler.store import execs, jobs

#: The database's ids are 64-bit integers; no object has a larger id.
LARGEST_ID: Final = 2**63 - 1
#: Longest part of an invalid id that is shown in an error.
LONGEST_SHOWN_ID: Final = 100
_JOB_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_EXEC_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class Role(IntEnum):
    """What a caller may do; each role includes the lower ones."""

    VIEWER = 1  # read
    OPERATOR = 2  # trigger and stop runs
    EDITOR = 3  # create, change and delete jobs, delete runs
    ADMIN = 4  # manage tokens as well; with a token for all namespaces, users too


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from.

    Attributes:
        remote: the client's address.
        request_id: the request's id.
        method: the HTTP method.
        path: the path without the query.
    """

    remote: str = ""
    request_id: str | None = None
    method: str | None = None
    path: str | None = None


NOWHERE: Final = Origin()


@dataclass(frozen=True, slots=True)
class Caller:
    """The user or program that sent a request.

    Attributes:
        user: the name stored as `created_by`.
        namespace: the namespace that the caller is limited to; None for all namespaces.
        role: the caller's role there.
        account: the user who owns the token; None if no user does.
        token_id: the token's id.
        token_prefix: the token's first characters, by which people recognize it.
        origin: where the request comes from.
    """

    user: str
    namespace: str | None
    role: Role
    account: str | None = field(default=None, compare=False)
    token_id: int | None = field(default=None, compare=False)
    token_prefix: str | None = field(default=None, compare=False)
    origin: Origin = field(default=NOWHERE, compare=False)

    @property
    def home(self) -> str:
        """The default namespace of objects that the caller creates."""
        return self.namespace or self.user


def demand(caller: Caller, role: Role, namespace: str) -> None:
    """Require a role in a namespace.

    Raises:
        ForbiddenError: the caller is limited to another namespace, or its role is too low.
    """
    if caller.namespace not in (None, namespace):
        raise ForbiddenError(
            f"This token is for namespace '{caller.namespace}', not for '{namespace}'; use a token for that namespace"
        )
    demand_role(caller, role)


def demand_everywhere(caller: Caller) -> None:
    """Require an administrator of all namespaces.

    Raises:
        ForbiddenError: the caller is limited to a namespace, or its role is too low.
    """
    if caller.namespace is not None:
        raise ForbiddenError(
            f"This token is for namespace '{caller.namespace}'; this requires a token for all namespaces"
        )
    demand_role(caller, Role.ADMIN)


def demand_role(caller: Caller, role: Role) -> None:
    """Require a role, in whichever namespaces the caller may use.

    Raises:
        ForbiddenError: the caller's role is too low.
    """
    if caller.role < role:
        raise ForbiddenError(
            f"This requires the role {role.name.lower()}; this token's role is {caller.role.name.lower()}"
        )


def visible_job(connection: Connection, caller: Caller, job_id: str) -> Job:
    """The job with an id as it is written in a path.

    Raises:
        NotFoundError: the text is not an id, or the caller can see no job with this id.
    """
    job = None
    if _JOB_ID.fullmatch(job_id) and int(job_id) <= LARGEST_ID:
        job = jobs.get(connection, int(job_id))
    if job is None or caller.namespace not in (None, job.definition.namespace):
        raise NotFoundError(f"There is no job with the id '{job_id[:LONGEST_SHOWN_ID]}'")
    return job


def job_called(connection: Connection, caller: Caller, text: str, *, namespace: str | None = None) -> Job:
    """The job with an id or a name, for clients that may use either.

    Args:
        connection: inside a transaction.
        caller: who asks.
        text: an id or a name.
        namespace: the namespace to search; None for all namespaces that the caller can see.

    Raises:
        NotFoundError: the caller can see no such job.
        ConflictError: jobs in several namespaces have this name.
    """
    if _JOB_ID.fullmatch(text) and int(text) <= LARGEST_ID:
        job = jobs.get(connection, int(text))
        if (
            job is not None
            and caller.namespace in (None, job.definition.namespace)
            and namespace in (None, job.definition.namespace)
        ):
            return job
    where = caller.namespace or namespace
    _, matching = jobs.page(connection, JobFilter(namespace=where, name=text), offset=0, limit=2)
    if not matching or namespace not in (None, where):
        raise NotFoundError(f"There is no job with the id or name '{text[:LONGEST_SHOWN_ID]}'")
    if len(matching) > 1:
        raise ConflictError(
            f"Several namespaces have a job named '{text[:LONGEST_SHOWN_ID]}'; use its id, or specify the namespace"
        )
    return matching[0]


def exec_called(connection: Connection, caller: Caller, text: str) -> tuple[Job, Exec]:
    """The run with an id or a number, and its job.

    Raises:
        NotFoundError: the caller can see no such run.
    """
    run = None
    if _EXEC_ID.fullmatch(text):
        run = execs.get(connection, text.lower())
    elif _JOB_ID.fullmatch(text) and int(text) <= LARGEST_ID:
        run = execs.by_number(connection, int(text))
    job = None if run is None else jobs.get(connection, run.job_id)
    if run is None or job is None or caller.namespace not in (None, job.definition.namespace):
        raise NotFoundError(f"There is no run with the id '{text[:LONGEST_SHOWN_ID]}'")
    return job, run


def visible_exec(connection: Connection, caller: Caller, job_id: str, exec_id: str) -> tuple[Job, Exec]:
    """The run with its job, by their ids as they are written in a path.

    Raises:
        NotFoundError: a text is not an id, the run belongs to another job, or the caller cannot see it.
    """
    job = visible_job(connection, caller, job_id)
    run = execs.get(connection, exec_id.lower()) if _EXEC_ID.fullmatch(exec_id) else None
    if run is None or run.job_id != job.id:
        raise NotFoundError(f"Job {job.id} has no run with the id '{exec_id[:LONGEST_SHOWN_ID]}'")
    return job, run
