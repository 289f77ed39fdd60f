"""The daemon's own metrics, for `GET /metrics`; each is named after what it counts, in base units."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

OCCURRENCES = Counter(
    "timeball_occurrences", "Due times decided, by outcome.", ["outcome"], registry=REGISTRY
)
LATENESS = Histogram(
    "timeball_claim_lateness_seconds",
    "Seconds from a due time to its claim.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
    registry=REGISTRY,
)
LAUNCH = Histogram(
    "timeball_launch_lateness_seconds",
    "Seconds from a due time or a manual trigger to the request to start the container.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
    registry=REGISTRY,
)
ENDED = Counter(
    "timeball_execs_ended", "Runs that ended, by status and reason.", ["status", "reason"], registry=REGISTRY
)
RUNNING = Gauge(
    "timeball_execs_dispatched", "Runs that currently use capacity, by region.", ["region"], registry=REGISTRY
)
WAITING = Gauge(
    "timeball_execs_waiting",
    "Runs that currently wait for capacity, by region.",
    ["region"],
    registry=REGISTRY,
)
ENGINE_UP = Gauge("timeball_engine_up", "Whether the engine answers: 1 or 0.", ["region"], registry=REGISTRY)
ENGINE_CALLS = Counter(
    "timeball_engine_calls",
    "Calls to engines, by outcome: ok, refused, troubled, timeout, unreachable, given_up, circuit_open.",
    ["region", "call", "outcome"],
    registry=REGISTRY,
)
ENGINE_CALL_SECONDS = Histogram(
    "timeball_engine_call_seconds",
    "Duration of calls to engines in seconds.",
    ["region", "call"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
ENGINE_CIRCUIT_OPEN = Gauge(
    "timeball_engine_circuit_open",
    "Whether calls to the engine fail immediately because it does not answer: 1 or 0.",
    ["region"],
    registry=REGISTRY,
)
PULLS_STALLED = Counter(
    "timeball_pulls_stalled",
    "Pulls cancelled because they made no progress.",
    ["region"],
    registry=REGISTRY,
)
PULLS_RETRIED = Counter(
    "timeball_pulls_retried", "Pulls retried after a temporary error.", ["region"], registry=REGISTRY
)
DATABASE_REFUSALS = Counter(
    "timeball_database_refusals",
    "Failed reads and transactions, by cause: locked, full, readonly, files, hung, damaged, unreachable, late, "
    "other.",
    ["door", "kind"],
    registry=REGISTRY,
)
DATABASE_WRITABLE = Gauge(
    "timeball_database_writable",
    "Whether the last transaction was committed: 1 or 0.",
    registry=REGISTRY,
)
ACCEPT_FAILURES = Counter(
    "timeball_accept_failures",
    "Connections that were not accepted immediately because the process had no free file descriptors.",
    registry=REGISTRY,
)
LOG_BYTES = Counter("timeball_log_bytes", "Bytes of captured output.", registry=REGISTRY)
DELIVERIES = Counter(
    "timeball_deliveries",
    "Delivery attempts, by kind (hook, mail) and outcome (delivered, retried, failed).",
    ["kind", "outcome"],
    registry=REGISTRY,
)
OUTBOX = Gauge("timeball_outbox_pending", "Deliveries that are still pending.", registry=REGISTRY)
DEFECTS = Counter("timeball_defects", "Internal errors of Timeball; see the daemon's log.", registry=REGISTRY)
CLEARED_EXECS = Counter(
    "timeball_cleared_execs",
    "Deleted runs, by reason: age, count, bytes, or the deletion of their job.",
    ["reason"],
    registry=REGISTRY,
)
CLEARED_LOG_BYTES = Counter(
    "timeball_cleared_log_bytes", "Bytes of deleted logs, as stored (compressed).", registry=REGISTRY
)
CLEARED_OCCURRENCES = Counter("timeball_cleared_occurrences", "Deleted ledger entries.", registry=REGISTRY)
CLEARING_SECONDS = Counter(
    "timeball_clearing_seconds", "Seconds spent deleting old data, including pauses.", registry=REGISTRY
)
DATABASE_BYTES = Gauge("timeball_database_bytes", "Size of the SQLite file in bytes.", registry=REGISTRY)
DATABASE_FREE_BYTES = Gauge(
    "timeball_database_free_bytes",
    "Bytes of the SQLite file that are free for reuse.",
    registry=REGISTRY,
)
