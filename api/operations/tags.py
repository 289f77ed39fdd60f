"""The headings under which the API's operations are shown, in their order."""

from __future__ import annotations

from typing import Final

JOBS: Final = "Jobs"
SCHEDULES: Final = "Schedules"
RUNS: Final = "Runs"
LOGS: Final = "Logs"
SECRETS: Final = "Secrets"
HOOKS: Final = "Hooks"
ACCESS: Final = "Access"
DAEMON: Final = "The daemon"
ORDINE: Final = "Ordine"
GES: Final = "GES"
EXPLORER: Final = "Explorer workflow"

#: What stands below each heading.
TAGS: Final = {
    JOBS: "What is to run: an image, a command, variables, a size, and when.",
    SCHEDULES: "When jobs run, and what became of every due time.",
    RUNS: "Runs of jobs (execs): triggered, listed, stopped, deleted; and figures of them.",
    LOGS: "What runs printed: by time range and by what lines say, as a page, a stream, a file, or events to follow.",
    SECRETS: "Values that jobs name and nobody reads, and credentials for registries.",
    HOOKS: "Who is told of what by a POST to a URL, and what became of telling them.",
    ACCESS: "Tokens, users, namespaces, and who did what.",
    DAEMON: "How the daemon is, which one it is, and this description.",
    ORDINE: "The same runs for clients of Ordine: a job there is a run here, a pipeline is a job.",
    GES: "The same runs for clients of GES: a project is a namespace, a graph is a job.",
    EXPLORER: "The same runs for clients of Explorer workflow: a job there is a run here, a workflow is a job.",
}
