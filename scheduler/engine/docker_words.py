"""Interprets the error messages of a Docker Engine: whether the cause is the run or the engine.

Pure. The status alone is not sufficient: a command that does not exist may be reported as 400 or 500, and so may a
containerd that does not answer; the message distinguishes them.
"""

from __future__ import annotations

import re

from scheduler.engine.errors import EngineError

# Phrases of an engine that has problems itself; only considered if the status is 5xx.
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

# Phrases for a registry that may answer soon ...
_PASSING = re.compile(
    r"connection re(fused|set)|no such host|server misbehaving|temporary failure|no route to host"
    r"|network is unreachable|i/o timeout|timeout|request canceled|deadline exceeded|unexpected eof|: eof\b"
    r"|toomanyrequests|too many requests|received unexpected http status: 5\d\d|\b50[0234] |internal server error"
    r"|bad gateway|service unavailable|gateway time|broken pipe",
)
# ... for one that has answered definitively, whatever else the message contains ...
_LASTING = re.compile(
    r"manifest unknown|not found|denied|403 forbidden|unauthorized|authentication|no basic auth|invalid reference"
    r"|no matching manifest|x509|no space left"
)

# ... and for one that does not accept the caller's credential.
_DENIED = re.compile(
    r"denied|403 forbidden|unauthorized|authentication|no basic auth|incorrect username or password"
)

# The runtime's own call stack before the actual error, in the formats of runc up to 1.0 and since.
_RUNTIME_PREFIX = re.compile(
    r"(failed to create (shim )?task: |failed to create task for container: "
    r"|OCI runtime create failed: |runc create failed: |unable to start container process: "
    r"|container_linux\.go:\d+: |starting container process caused: |error during container init: "
    r"|Error response from daemon: )"
)


class EngineRefusedError(EngineError):
    """The engine answered a call with an error.

    Attributes:
        status: the HTTP status of the answer.
        words: the engine's message, shortened to the essential part.
    """

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        self.words = readable(words) or f"no reason given (HTTP status {status})"
        super().__init__(f"the engine refused: {self.words}")

    @property
    def in_trouble(self) -> bool:
        """Whether the engine is at fault, so that the same call may succeed later."""
        return self.status == 503 or (self.status >= 500 and is_trouble(self.words))


def is_trouble(words: str) -> bool:
    """Whether the engine failed because of a problem of its own, so that the result is unknown.

    >>> is_trouble('connection error: desc = "transport: Error while dialing: dial unix containerd.sock"')
    True
    """
    return any(phrase in words.lower() for phrase in _TROUBLE)


def readable(words: str) -> str:
    """An engine's message without its runtime's call stack.

    >>> readable('OCI runtime create failed: container_linux.go:380: starting container process caused: '
    ...          'exec: "nope": executable file not found in $PATH: unknown')
    'exec: "nope": executable file not found in $PATH'
    """
    return _RUNTIME_PREFIX.sub("", words).removesuffix(": unknown").strip()


def is_passing_registry_trouble(words: str) -> bool:
    """Whether a pull that failed with this message may succeed soon.

    >>> is_passing_registry_trouble('dial tcp 10.0.0.1:5000: connect: connection refused')
    True
    >>> is_passing_registry_trouble('manifest for repo:tag not found: manifest unknown')
    False
    """
    lower = words.lower()
    return _PASSING.search(lower) is not None and _LASTING.search(lower) is None


def is_denial(words: str) -> bool:
    """Whether a pull failed with this message because of the credential.

    >>> is_denial('Head "http://127.0.0.1:5000/v2/a/manifests/1": no basic auth credentials')
    True
    """
    return _DENIED.search(words.lower()) is not None


def is_disk_full(words: str) -> bool:
    """Whether the engine's disk is full."""
    return "no space left on device" in words.lower() or "disk quota exceeded" in words.lower()
