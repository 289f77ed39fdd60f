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
LOG_BYTES = Counter("timeball_log_bytes", "Bytes of output captured.", registry=REGISTRY)
DEFECTS = Counter("timeball_defects", "Failures of Timeball itself; its log says which.", registry=REGISTRY)
