"""Shell completion of job names, run ids, namespaces and webhooks, as the daemon lists them.

The shell waits for the answer, so the daemon gets one second. If it does not answer, or refuses, nothing is completed
and no error is shown.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import click
    from click.shell_completion import CompletionItem

#: Seconds that the daemon may take.
PATIENCE: Final = 1.0
#: The number of jobs, and of the newest runs, that are considered.
MOST_JOBS, MOST_RUNS = 1000, 200
#: What a shell reads as a single word without quotes. Other names are not completed.
_WORD: Final = re.compile(r"[^\s\"'\\$`!*?\[\](){}<>|&;#~,:]+")
_STATUS: Final = {"W": "waiting", "R": "running", "S": "succeeded", "F": "failed", "C": "cancelled"}


def jobs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of jobs in the namespace that the command line names so far."""
    return _items(incomplete, _jobs(context))


def runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of runs, newest first."""
    return _items(incomplete, _runs({}))


def open_runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of runs that have not ended, newest first."""
    return _items(incomplete, _runs({"status": "W,R"}))


def jobs_and_runs(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of jobs, and ids of runs once something has been typed."""
    found = _items(incomplete, _jobs(context))
    return found + (_items(incomplete, _runs({})) if incomplete else [])


def namespaces(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of namespaces."""
    found = _ask("/v1/namespaces", {"page_size": str(MOST_JOBS)})
    return _items(incomplete, ((space["name"], f"{space['job_count']} jobs") for space in found))


def hooks(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of webhooks."""
    return _items(incomplete, ((str(hook["id"]), hook["name"]) for hook in _ask("/v1/hooks", {})))


def _jobs(context: click.Context) -> Iterator[tuple[str, str]]:
    query = {"page_size": str(MOST_JOBS)}
    if namespace := context.params.get("namespace"):
        query["namespace"] = namespace
    return ((job["name"], job["schedule_mode"] or "") for job in _ask("/v1/jobs", query))


def _runs(query: dict[str, str]) -> Iterator[tuple[str, str]]:
    found = _ask("/v1/execs", {"page_size": str(MOST_RUNS), **query})
    return ((run["id"], f"{run['job_name']}: {_STATUS.get(run['status'], '')}") for run in found)


def _items(incomplete: str, found: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    try:
        return [
            CompletionItem(value, help=" ".join(words.split()) or None)
            for value, words in found
            if value.startswith(incomplete) and _WORD.fullmatch(value)
        ]
    except (KeyError, TypeError, AttributeError):  # something other than a daemon answered
        return []


def _ask(path: str, query: dict[str, str]) -> list[dict[str, Any]]:
    from api.client import ClientError, connect

    try:
        found = connect().request("GET", path, query=query, timeout=PATIENCE).json()
    except (ClientError, OSError):
        return []
    if isinstance(found, dict):
        found = found.get("results")
    return found if isinstance(found, list) else []
