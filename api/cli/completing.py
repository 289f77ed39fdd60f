"""What can be completed where a shell asks: names of jobs, ids of runs, namespaces, as the daemon has them.

A shell waits for the answer, so the daemon has a second; if it does not answer, or refuses, nothing is completed and
nothing is said.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click
    from click.shell_completion import CompletionItem

#: Seconds that the daemon has.
PATIENCE: Final = 1.0
#: So many jobs and runs are looked through, the newest of the runs.
MOST_JOBS, MOST_RUNS = 1000, 200
#: What a shell takes as one word without quotes; other names cannot be completed.
_WORD: Final = re.compile(r"[^\s\"'\\$`!*?\[\](){}<>|&;#~,:]+")
_STATUS: Final = {"W": "waiting", "R": "running", "S": "succeeded", "F": "failed", "C": "cancelled"}


def jobs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of jobs, of the namespace that the command line names so far."""
    return _items(incomplete, _jobs(context))


def runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of runs, the newest first."""
    return _items(incomplete, _runs({}))


def open_runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of runs that have not ended, the newest first."""
    return _items(incomplete, _runs({"status": "W,R"}))


def jobs_and_runs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of jobs; ids of runs once there is a beginning of one."""
    found = _items(incomplete, _jobs(context))
    return found + (_items(incomplete, _runs({})) if incomplete else [])


def namespaces(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of namespaces."""
    found = _ask("/v1/namespaces", {"page_size": str(MOST_JOBS)})
    return _items(incomplete, ((one["name"], f"{one['job_count']} jobs") for one in found))


def hooks(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of hooks."""
    return _items(incomplete, ((str(one["id"]), one["name"]) for one in _ask("/v1/hooks", {})))


def _jobs(context: click.Context) -> Iterator[tuple[str, str]]:
    query = {"page_size": str(MOST_JOBS)}
    if namespace := context.params.get("namespace"):
        query["namespace"] = namespace
    return ((one["name"], one["schedule_mode"] or "") for one in _ask("/v1/jobs", query))


def _runs(query: dict[str, str]) -> Iterator[tuple[str, str]]:
    found = _ask("/v1/execs", {"page_size": str(MOST_RUNS), **query})
    return ((one["id"], f"{one['job_name']}: {_STATUS.get(one['status'], '')}") for one in found)


def _items(incomplete: str, found: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - loaded when a shell asks

    try:
        return [
            CompletionItem(value, help=" ".join(words.split()) or None)
            for value, words in found
            if value.startswith(incomplete) and _WORD.fullmatch(value)
        ]
    except (KeyError, TypeError, AttributeError):  # whatever answers there is no daemon
        return []


def _ask(path: str, query: dict[str, str]) -> list[dict[str, Any]]:
    from api.client import ClientError, connect  # noqa: PLC0415 - loaded when a shell asks

    try:
        found = connect().request("GET", path, query=query, timeout=PATIENCE).json()
    except (ClientError, OSError):
        return []
    if isinstance(found, dict):
        found = found.get("results")
    return found if isinstance(found, list) else []
