"""Reads what a Docker Engine says when it refuses something: whether the run or the engine is to blame.

Pure. The engine's statuses alone do not tell: a command that does not exist is 400 or 500, and so is a
containerd that does not answer; its words do.
"""

from __future__ import annotations

import re

from scheduler.engine.errors import EngineError

# What stands in the words of an engine that is itself in trouble; only looked for where its status is 5xx.
_TROUBLE = (
    "context canceled",
    "context deadline exceeded",
    "connection refused",
    "connection error",
    "error while dialing",
    "transport is closing",
    "code = unavailable",
    "shutting down",
)

# The runtime's own call stack, in the forms of runc up to 1.0 and since, that stands before what went wrong.
_RUNTIME_PREFIX = re.compile(
    r"(failed to create (shim )?task: |failed to create task for container: "
    r"|OCI runtime create failed: |runc create failed: |unable to start container process: "
    r"|container_linux\.go:\d+: |starting container process caused: |error during container init: "
    r"|Error response from daemon: )"
)


class RefusedError(EngineError):
    """The engine answered a call with an error.

    Attributes:
        status: the HTTP status of its answer.
        words: its own words, shortened to what matters.
    """

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = readable(words) or f"no reason given (HTTP status {status})"
        super().__init__(f"the engine refused: {self.words}")

    @property
    def in_trouble(self) -> bool:
        """Whether the engine is to blame, so that the same call may do later."""
        return self.status == 503 or (self.status >= 500 and any(t in self.words.lower() for t in _TROUBLE))


def readable(words: str) -> str:
    """An engine's words without its runtime's call stack.

    >>> readable('OCI runtime create failed: container_linux.go:380: starting container process caused: '
    ...          'exec: "nope": executable file not found in $PATH: unknown')
    'exec: "nope": executable file not found in $PATH'
    """
    return _RUNTIME_PREFIX.sub("", words).removesuffix(": unknown").strip()
