"""The models of bodies and answers in the format of Ordine."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.common import Input, shown_as
from api.schemas.fields import Text, Variables
from scheduler.domain.execution import ExecStatus

#: Statuses by their names in Ordine.
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

    inputPath: Text | None = Field(  # noqa: N815 - the name on the wire
        default=None, description="The path of the input, which the run gets in the variable `INPUT_PATH`."
    )
    inputs: Variables | None = Field(default=None, description="Environment variables for this run.")


class OrdineJobIn(OrdineRunIn):
    """The body of `POST /api/jobs`."""

    id: Text | None = Field(
        default=None, description="An id that the client chooses, stored as a label of the run."
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
    """An error in the format of Ordine.

    Attributes:
        error: what is wrong.
    """

    error: str


class OrdineResult(TypedDict):
    """The result of a job.

    Attributes:
        summary: the result in words.
        exitCode: exit code of the container's process; null if unknown.
    """

    summary: str
    exitCode: int | None


class OrdineJob(TypedDict):
    """A job in Ordine, which is a run.

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
    """The job that was created.

    Attributes:
        jobId: the run's id.
    """

    jobId: str
