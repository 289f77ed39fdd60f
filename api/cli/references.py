"""What users call things: a job by its id or name, a run by its id, variables as NAME=VALUE, times as they speak."""

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


def is_exec_id(text: str) -> bool:
    """Whether a text looks like a run's id."""
    return _UUID.fullmatch(text) is not None


def find_job(client: Client, text: str, namespace: str | None = None) -> dict[str, Any]:
    """The job of that id or name.

    Raises:
        ClientError: there is none, or several namespaces have one of that name.
    """
    from api.client import ApiError, UsageError  # noqa: PLC0415 - loaded when a command runs

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
            f"Several namespaces have a job named '{text}' ({where}): give --namespace, or its id"
        )
    hint = did_you_mean(text, _names_of_jobs(client, namespace))
    raise UsageError(
        f"There is no job with the id or name '{text}'.{hint or ' See those there are with: timeball job list'}"
    )


def _names_of_jobs(client: Client, namespace: str | None) -> list[str]:
    query = {"page_size": "1000"} | ({"namespace": namespace} if namespace else {})
    return [one["name"] for one in client.request("GET", "/v1/jobs", query=query).json()["results"]]


def find_exec(client: Client, exec_id: str) -> dict[str, Any]:
    """The run of that id, with its whole job.

    Raises:
        ClientError: there is none.
    """
    found: dict[str, Any] = client.request("GET", f"/v1/execs/{exec_id}").json()
    return found


def exec_path(one: Mapping[str, Any]) -> str:
    """Where a run stands in the API."""
    job = one["job"]
    return f"/v1/jobs/{job['id'] if isinstance(job, dict) else job}/execs/{one['id']}"


def variables_of(given: Iterable[str]) -> dict[str, str]:
    """Variables from NAME=VALUE each.

    Raises:
        click.BadParameter: one has no '='.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as -e MODE=fast")
        found[name] = value
    return found


class When(click.ParamType[datetime]):
    """A moment: how long ago, such as 2h, or ISO 8601 on this machine's clock unless it names an offset."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """An aware moment."""
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
                f"{value!r} is no time: write how long ago, such as 90s, 30m, 2h or 3d, or a moment such as "
                "2026-01-31T14:00 (this machine's time) or 2026-01-31T13:00Z",
                param,
                ctx,
            )


def local(moment: str | None) -> str:
    """A moment of the API on this machine's clock, to the second; empty where there is none."""
    if moment is None:
        return ""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def unix(moment: datetime) -> str:
    """Unix seconds, exact to the microsecond."""
    return f"{moment.timestamp():.6f}"
