"""The headings of the operations in the OpenAPI document, in order."""

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

#: The text below each heading.
TAGS: Final = {
    JOBS: "Definitions of what runs: image, command, variables, size and schedule.",
    SCHEDULES: "When jobs run, and the outcome of every due time.",
    RUNS: "Runs of jobs (`exec` in paths and fields): trigger, list, stop, delete, statistics.",
    LOGS: "Output of runs, by time range and by content: as a page, a stream, a file, or events.",
    SECRETS: "Secrets that jobs refer to, whose values cannot be read back, and credentials for registries.",
    HOOKS: "Webhooks, which post events about runs to a URL, and their deliveries.",
    ACCESS: "Tokens, users, namespaces and the audit log.",
    DAEMON: "The state of the daemon, information about it, and this document.",
    ORDINE: "The same runs for clients of Ordine: its jobs are runs here, its pipelines are jobs.",
    GES: "The same runs for clients of GES: its projects are namespaces here, its graphs are jobs.",
    EXPLORER: "The same runs for clients of Explorer workflow: its jobs are runs here, its workflows are jobs.",
}
