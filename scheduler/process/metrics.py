"""The daemon's own figures, for `GET /metrics`; each is named after what it counts, in base units."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

OCCURRENCES = Counter(
    "timeball_occurrences", "Due times decided, by outcome.", ["outcome"], registry=REGISTRY
)
LATENESS = Histogram(
    "timeball_claim_lateness_seconds",
    "From a due time to its claim.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
    registry=REGISTRY,
)
LAUNCH = Histogram(
    "timeball_launch_lateness_seconds",
    "From a due time, or a trigger by hand, to the request to start its container.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300),
    registry=REGISTRY,
)
ENDED = Counter(
    "timeball_execs_ended", "Runs that ended, by status and reason.", ["status", "reason"], registry=REGISTRY
)
RUNNING = Gauge(
    "timeball_execs_dispatched", "Runs that hold capacity now, by region.", ["region"], registry=REGISTRY
)
WAITING = Gauge(
    "timeball_execs_waiting", "Runs that wait for capacity now, by region.", ["region"], registry=REGISTRY
)
ENGINE_UP = Gauge("timeball_engine_up", "Whether the engine answers.", ["region"], registry=REGISTRY)
ENGINE_CALLS = Counter(
    "timeball_engine_calls",
    "Calls to engines, by what became of them: ok, refused, troubled, timeout, unreachable, given_up, circuit_open.",
    ["region", "call", "outcome"],
    registry=REGISTRY,
)
ENGINE_CALL_SECONDS = Histogram(
    "timeball_engine_call_seconds",
    "How long calls to engines took.",
    ["region", "call"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    registry=REGISTRY,
)
ENGINE_CIRCUIT_OPEN = Gauge(
    "timeball_engine_circuit_open",
    "Whether calls to the engine fail at once because it does not answer.",
    ["region"],
    registry=REGISTRY,
)
PULLS_STALLED = Counter(
    "timeball_pulls_stalled", "Pulls broken off for want of progress.", ["region"], registry=REGISTRY
)
PULLS_RETRIED = Counter(
    "timeball_pulls_retried", "Pulls tried again after a passing trouble.", ["region"], registry=REGISTRY
)
DATABASE_REFUSALS = Counter(
    "timeball_database_refusals",
    "Reads and transactions that the database refused, by what was in the way: locked, full, readonly, files, hung, "
    "damaged, unreachable, late, other.",
    ["door", "kind"],
    registry=REGISTRY,
)
DATABASE_WRITABLE = Gauge(
    "timeball_database_writable", "Whether the last transaction was committed.", registry=REGISTRY
)
ACCEPT_FAILURES = Counter(
    "timeball_accept_failures",
    "Connections that could not be accepted at once for want of files.",
    registry=REGISTRY,
)
LOG_BYTES = Counter("timeball_log_bytes", "Bytes of output captured.", registry=REGISTRY)
DELIVERIES = Counter(
    "timeball_deliveries",
    "Attempts at telling somebody, by kind (hook, mail) and outcome (delivered, retried, failed).",
    ["kind", "outcome"],
    registry=REGISTRY,
)
OUTBOX = Gauge("timeball_outbox_pending", "Messages that are still to be delivered.", registry=REGISTRY)
DEFECTS = Counter("timeball_defects", "Failures of Timeball itself; its log says which.", registry=REGISTRY)
CLEARED_EXECS = Counter(
    "timeball_cleared_execs",
    "Runs deleted, by what made them go: age, count, bytes, or that their job was deleted.",
    ["reason"],
    registry=REGISTRY,
)
CLEARED_LOG_BYTES = Counter(
    "timeball_cleared_log_bytes", "Bytes of stored (compressed) logs deleted.", registry=REGISTRY
)
CLEARED_OCCURRENCES = Counter(
    "timeball_cleared_occurrences", "Entries of ledgers deleted.", registry=REGISTRY
)
CLEARING_SECONDS = Counter(
    "timeball_clearing_seconds", "Time spent on clearing away, pauses included.", registry=REGISTRY
)
DATABASE_BYTES = Gauge("timeball_database_bytes", "Size of SQLite's file.", registry=REGISTRY)
DATABASE_FREE_BYTES = Gauge(
    "timeball_database_free_bytes", "Of it, what is free to be used again.", registry=REGISTRY
)
