"""Paths that several modules of routes share."""

from __future__ import annotations

from typing import Final

JOB: Final = "/v1/jobs/{job_id}"
EXEC: Final = JOB + "/execs/{exec_id}"
HOOK: Final = "/v1/hooks/{hook_id}"
DELIVERY: Final = HOOK + "/deliveries/{delivery_id}"
