"""Reads what users type: jobs by id or name, runs by id, variables as NAME=VALUE, and times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from api.cli.failing import did_you_mean

if TYPE_CHECKING:
    from api.client import Client

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_AGO: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smhdw])", re.ASCII)
#: Seconds in each unit of a duration such as 30d.
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a run's id."""
    return _UUID.fullmatch(text) is not None


def find_job(client: Client, text: str, namespace: str | None = None) -> dict[str, Any]:
    """The job with that id or name.

    Raises:
        ClientError: there is no such job, or several namespaces have a job with that name.
    """
    from api.client import ApiError, UsageError

    if text.isascii() and text.isdigit():
        try:
            found: dict[str, Any] = client.request("GET", f"/v1/jobs/{text}").json()
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            return found
    query = {"name": text} | ({"namespace": namespace} if namespace else {})
    named: list[dict[str, Any]] = client.request("GET", "/v1/jobs", query=query).json()["results"]
    if len(named) == 1:
        return named[0]
    if named:
        where = ", ".join(job["namespace"] for job in named)
        raise UsageError(
            f"Several namespaces have a job named '{text}' ({where}). Add --namespace, or use the job's id."
        )
    hint = did_you_mean(text, _job_names(client, namespace)) or " Run 'timeball job list' to see all jobs."
    raise UsageError(f"There is no job with the id or name '{text}'.{hint}")


def _job_names(client: Client, namespace: str | None) -> list[str]:
    query = {"page_size": "1000"} | ({"namespace": namespace} if namespace else {})
    return [job["name"] for job in client.request("GET", "/v1/jobs", query=query).json()["results"]]


def find_run(client: Client, run_id: str) -> dict[str, Any]:
    """The run with that id, including its job.

    Raises:
        ClientError: there is no such run.
    """
    found: dict[str, Any] = client.request("GET", f"/v1/execs/{run_id}").json()
    return found


def run_path(run: Mapping[str, Any]) -> str:
    """The API path of a run."""
    job = run["job"]
    return f"/v1/jobs/{job['id'] if isinstance(job, dict) else job}/execs/{run['id']}"


def variables_of(given: Iterable[str]) -> dict[str, str]:
    """Variables from texts of the form NAME=VALUE.

    Raises:
        click.BadParameter: a text has no '='.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE, such as -e MODE=fast.")
        found[name] = value
    return found


class When(click.ParamType[datetime]):
    """A time: how long ago, such as 2h, or ISO 8601, in this machine's time zone unless it has an offset."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware datetime."""
        if isinstance(value, datetime):
            return value
        now = datetime.now().astimezone()
        if (match := _AGO.fullmatch(value)) is not None:
            return now - timedelta(seconds=float(match[1]) * UNITS[match[2]])
        if value == "now":
            return now
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(
                f"{value!r} is not a time. Write how long ago, such as 90s, 30m, 2h or 3d, or a date and time such "
                "as 2026-01-31T14:00 (this machine's time zone) or 2026-01-31T13:00Z.",
                param,
                ctx,
            )


def local(moment: str | None) -> str:
    """A time from the API in this machine's time zone, to the second; empty for None."""
    if moment is None:
        return ""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def unix(moment: datetime) -> str:
    """Unix seconds, exact to the microsecond."""
    return f"{moment.timestamp():.6f}"
