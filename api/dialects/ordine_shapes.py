"""The shapes of Ordine's bodies and answers."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import Input, shown_as
from api.schemas.fields import Text, Variables
from scheduler.domain.execution import ExecStatus

#: Statuses by Ordine's words for them.
STATUSES: Final = {
    "pending": ExecStatus.WAITING,
    "running": ExecStatus.RUNNING,
    "completed": ExecStatus.SUCCEEDED,
    "done": ExecStatus.SUCCEEDED,
    "failed": ExecStatus.FAILED,
    "cancelled": ExecStatus.CANCELLED,
}


class OrdineRunIn(Input):
    """The body of `POST /api/pipelines/{id}/run`: variables for this run."""

    inputPath: Text | None = Field(  # noqa: N815 - the wire's name
        default=None, description="The path of the input; the run has it as the variable `INPUT_PATH`."
    )
    inputs: Variables | None = Field(default=None, description="Environment variables for this run.")


class OrdineJobIn(OrdineRunIn):
    """The body of `POST /api/jobs`."""

    id: Text | None = Field(
        default=None, description="An id of the client's own, kept as a label of the run."
    )
    pipelineId: Text = Field(description="The job's id or name.")  # noqa: N815
    projectId: Text | None = Field(default=None, description="The job's namespace.")  # noqa: N815
    status: Literal["pending"] = Field(default="pending", description="Always `pending`.")


class OrdineJobChange(Input):
    """The body of `PATCH /api/jobs/{id}`."""

    status: Annotated[Text, shown_as(enum=list(STATUSES))] = Field(
        description="The new status: `cancelled` stops the run."
    )


class OrdineError(TypedDict):
    """How Ordine refuses.

    Attributes:
        error: what is wrong.
    """

    error: str


class OrdineResult(TypedDict):
    """How a job ended.

    Attributes:
        summary: the result in words.
        exitCode: exit code of the container's process; null if unknown.
    """

    summary: str
    exitCode: int | None


class OrdineJob(TypedDict):
    """A job of Ordine's: a run.

    Attributes:
        id: the run's id.
        pipelineId: the job's id.
        pipelineName: the job's name.
        projectId: the namespace.
        status: the status of the run.
        result: the result; null before the end.
        error: what went wrong; null if nothing did.
        startedAt: when the run started; null before that.
        completedAt: when the run ended; null before that.
        createdAt: when the run was created.
    """

    id: str
    pipelineId: str
    pipelineName: str
    projectId: str
    status: str
    result: OrdineResult | None
    error: str | None
    startedAt: str | None
    completedAt: str | None
    createdAt: str | None


class OrdineTrace(TypedDict):
    """A line of a job's log.

    Attributes:
        id: the line's id.
        jobId: the run's id.
        level: the level of the line.
        message: the text of the line.
        createdAt: when the line was written.
    """

    id: str
    jobId: str
    level: str
    message: str
    createdAt: str | None


class OrdineTriggered(TypedDict):
    """Which job was made.

    Attributes:
        jobId: the run's id.
    """

    jobId: str
