"""Who asks, what they may do, and which jobs and runs they can see.

What a caller may not see does not exist for them: it is not found. Reads the store, inside the use case's own
transaction.
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

#: Ids are 64-bit in the database; a larger number in a path is the id of nothing.
LARGEST_ID: Final = 2**63 - 1
#: Of an id that is none, so much is shown.
LONGEST_SHOWN_ID: Final = 100
_JOB_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
_EXEC_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class Role(IntEnum):
    """What a caller may do; each may do what the lower ones may."""

    VIEWER = 1  # read
    OPERATOR = 2  # trigger and stop runs
    EDITOR = 3  # define and delete jobs, delete runs
    ADMIN = 4  # all of that, and hand out tokens; with a token for all namespaces, users as well


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from.

    Attributes:
        remote: the client's address.
        request_id: the request's own id.
        method: HTTP's.
        path: without the query.
    """

    remote: str = ""
    request_id: str | None = None
    method: str | None = None
    path: str | None = None


NOWHERE: Final = Origin()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        user: the name that is recorded as `created_by`.
        namespace: the one it is bound to; None for all.
        role: what it may do there.
        account: the user whose token it is; None if no user owns it.
        token_id: which token came along.
        token_prefix: the token's recognisable beginning.
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
        """The namespace of what it makes without naming one."""
        return self.namespace or self.user


def demand(caller: Caller, role: Role, namespace: str) -> None:
    """Let pass a caller who has the role in the namespace.

    Raises:
        ForbiddenError: the caller is bound to another namespace, or may do less.
    """
    if caller.namespace not in (None, namespace):
        raise ForbiddenError(f"This token is for the namespace '{caller.namespace}', not for '{namespace}'")
    demand_role(caller, role)


def demand_everywhere(caller: Caller) -> None:
    """Let pass an administrator of all namespaces.

    Raises:
        ForbiddenError: the caller is bound to a namespace, or may do less.
    """
    if caller.namespace is not None:
        raise ForbiddenError(f"This token is for the namespace '{caller.namespace}'; this needs one for all")
    demand_role(caller, Role.ADMIN)


def demand_role(caller: Caller, role: Role) -> None:
    """Let pass a caller who has the role wherever it is.

    Raises:
        ForbiddenError: it may do less.
    """
    if caller.role < role:
        raise ForbiddenError(
            f"This needs the role {role.name.lower()}; this token has {caller.role.name.lower()}"
        )


def visible_job(connection: Connection, caller: Caller, job_id: str) -> Job:
    """The job of that id, as it stands in a path.

    Raises:
        NotFoundError: there is none that the caller may see, or the text is no id.
    """
    job = None
    if _JOB_ID.fullmatch(job_id) and int(job_id) <= LARGEST_ID:
        job = jobs.get(connection, int(job_id))
    if job is None or caller.namespace not in (None, job.definition.namespace):
        raise NotFoundError(f"There is no job with the id '{job_id[:LONGEST_SHOWN_ID]}'")
    return job


def job_called(connection: Connection, caller: Caller, text: str, *, namespace: str | None = None) -> Job:
    """The job of that id or that name, for clients that know it by either.

    Args:
        connection: inside a transaction.
        caller: whoever asks.
        text: an id, or else a name.
        namespace: where it is looked for; None for all that the caller may see.

    Raises:
        NotFoundError: there is none that the caller may see.
        ConflictError: several namespaces have a job of that name.
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
    _, found = jobs.page(connection, JobFilter(namespace=where, name=text), offset=0, limit=2)
    if not found or namespace not in (None, where):
        raise NotFoundError(f"There is no job with the id or name '{text[:LONGEST_SHOWN_ID]}'")
    if len(found) > 1:
        raise ConflictError(
            f"Several namespaces have a job named '{text[:LONGEST_SHOWN_ID]}'; use its id, or name the namespace"
        )
    return found[0]


def exec_called(connection: Connection, caller: Caller, text: str) -> tuple[Job, Exec]:
    """The run of that id or that number, whatever its job, with its job.

    Raises:
        NotFoundError: there is none that the caller may see.
    """
    one = None
    if _EXEC_ID.fullmatch(text):
        one = execs.get(connection, text.lower())
    elif _JOB_ID.fullmatch(text) and int(text) <= LARGEST_ID:
        one = execs.by_number(connection, int(text))
    job = None if one is None else jobs.get(connection, one.job_id)
    if one is None or job is None or caller.namespace not in (None, job.definition.namespace):
        raise NotFoundError(f"There is no exec with the id '{text[:LONGEST_SHOWN_ID]}'")
    return job, one


def visible_exec(connection: Connection, caller: Caller, job_id: str, exec_id: str) -> tuple[Job, Exec]:
    """The run of that id with its job, as they stand in a path.

    Raises:
        NotFoundError: there is none that the caller may see, it is another job's, or the text is no id.
    """
    job = visible_job(connection, caller, job_id)
    one = execs.get(connection, exec_id.lower()) if _EXEC_ID.fullmatch(exec_id) else None
    if one is None or one.job_id != job.id:
        raise NotFoundError(f"Job {job.id} has no exec with the id '{exec_id[:LONGEST_SHOWN_ID]}'")
    return job, one
