"""Whose fault it is, told by an engine's words."""

from __future__ import annotations

import pytest

from scheduler.engine.docker_words import EngineRefusedError, is_denial, is_passing_registry_trouble, readable


@pytest.mark.parametrize(
    "words",
    [
        (
            "OCI runtime create failed: container_linux.go:380: starting container process caused: "
            'exec: "nope": executable file not found in $PATH: unknown'
        ),
        (
            "failed to create shim task: OCI runtime create failed: runc create failed: unable to start "
            'container process: exec: "nope": executable file not found in $PATH: unknown'
        ),
        (
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc "
            "create failed: unable to start container process: error during container init: "
            'exec: "nope": executable file not found in $PATH: unknown'
        ),
    ],
)
def test_the_runtimes_call_stack_is_left_out(words: str) -> None:
    """Engines of all ages say the same in the end."""
    assert readable(words) == 'exec: "nope": executable file not found in $PATH'


@pytest.mark.parametrize(
    ("status", "words", "in_trouble"),
    [
        (503, "This node is not a swarm manager", True),
        (500, "context deadline exceeded: unknown", True),
        (500, 'connection error: desc = "transport: error while dialing: dial unix containerd.sock"', True),
        (500, 'exec: "nope": executable file not found in $PATH', False),
        (400, 'exec: "connection refused": executable file not found in $PATH', False),
        (404, "No such image: x", False),
        (409, "Conflict", False),
    ],
)
def test_an_engine_in_trouble_is_told_apart_from_a_run_that_is_wrong(
    status: int, words: str, in_trouble: bool
) -> None:
    """Only what may go well later is the engine's fault."""
    assert EngineRefusedError(status, words).in_trouble is in_trouble


def test_a_refusal_without_words_still_says_something() -> None:
    """The status stands in for the missing reason."""
    assert "418" in EngineRefusedError(418, "").words


@pytest.mark.parametrize(
    "words",
    [
        'Get "http://127.0.0.1:5000/v2/": dial tcp 127.0.0.1:5000: connect: connection refused',
        'Get "https://registry/v2/": dial tcp: lookup registry on 10.0.0.2:53: no such host',
        "received unexpected HTTP status: 503 Service Unavailable",
        "read tcp 10.0.0.1:4: read: connection reset by peer",
        "net/http: TLS handshake timeout",
        "unexpected EOF",
        "toomanyrequests: You have reached your pull rate limit",
        (
            'failed to resolve reference "registry/repo:tag": unexpected status from HEAD request to '
            "https://registry/v2/repo/manifests/tag: 503 Service Unavailable"
        ),
    ],
)
def test_what_a_registry_gets_over_is_worth_another_try(words: str) -> None:
    """It may answer in a moment."""
    assert is_passing_registry_trouble(words)


@pytest.mark.parametrize(
    "words",
    [
        "manifest for repo:tag not found: manifest unknown: manifest unknown",
        "pull access denied for repo, repository does not exist or may require 'docker login'",
        'Get "https://registry/v2/": unauthorized: authentication required',
        (
            'failed to resolve reference "registry/repo:tag": unexpected status from HEAD request to '
            "https://registry/v2/repo/manifests/tag: 403 Forbidden"
        ),
        'failed to resolve reference "registry/repo:tag": registry/repo:tag: not found',
        "no matching manifest for linux/arm64 in the manifest list entries",
        "x509: certificate signed by unknown authority",
        "failed to register layer: write /file: no space left on device",
        "something nobody has seen",
    ],
)
def test_what_a_registry_says_for_good_is_not_asked_again(words: str) -> None:
    """Nor is what nobody knows."""
    assert not is_passing_registry_trouble(words)


@pytest.mark.parametrize(
    ("words", "denied"),
    [
        ("pull access denied for repo, repository does not exist or may require 'docker login'", True),
        ('Head "http://registry/v2/a/manifests/1": no basic auth credentials', True),
        ("unexpected status from HEAD request to https://registry/v2/a/manifests/1: 403 Forbidden", True),
        ("unexpected status from HEAD request to https://registry/v2/a/manifests/1: 401 Unauthorized", True),
        ("manifest for repo:tag not found: manifest unknown", False),
        (
            "unexpected status from HEAD request to https://registry/v2/a/manifests/1: 503 Service Unavailable",
            False,
        ),
    ],
)
def test_a_registry_that_refuses_the_credential_is_told_apart(words: str, denied: bool) -> None:
    """Whichever image store the engine has."""
    assert is_denial(words) is denied
