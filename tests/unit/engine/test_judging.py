"""Which troubles follow from an engine's profile."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from scheduler.engine.judging import refusal_of, troubles_of
from scheduler.engine.profile import EngineProfile, Limit, Product
from tests.lab.fake_engine import FAKE_KIND

PODMAN: dict[str, Any] = {"product": Product.PODMAN, "version": "5.4.2", "log_driver": "k8s-file"}
ALL = (Limit.CPUS, Limit.MEMORY, Limit.SWAP, Limit.PIDS)


def but(**changes: Any) -> EngineProfile:
    """An engine without any trouble, but for these."""
    return replace(FAKE_KIND, **changes)


@pytest.mark.parametrize(
    ("changes", "names", "words"),
    [
        ({}, [], ""),
        (PODMAN, ["podman"], "created on the host"),
        ({"version": "20.10.24+dfsg1"}, ["release"], "no longer maintained, and can lock up"),
        ({"version": "19.03.15"}, ["release"], "no longer maintained$"),
        ({"version": "23.0.1"}, [], ""),
        ({"version": "dev"}, [], ""),
        (PODMAN | {"version": "4.9.3"}, ["release", "podman"], "older than any version"),
        ({"missing_limits": (Limit.PIDS,)}, ["limits"], "cannot limit the number of processes of containers"),
        ({"missing_limits": ALL}, ["limits"], "the processors, the memory and the number of processes"),
        ({"missing_limits": (Limit.SWAP,)}, ["swap"], "cannot limit swap"),
        ({"log_driver": None}, ["output"], "no log driver"),
        ({"log_driver": "json-file"}, ["output"], "not UTF-8"),
        (PODMAN | {"log_driver": "journald"}, ["output", "podman"], "journald"),
        ({"has_userns_remap": True}, ["users"], "userns-remap"),
        ({"is_rootless": True}, ["users"], "rootless"),
        ({"warnings": ("WARNING: API is accessible on http://0.0.0.0:2375",)}, ["warnings"], "API is acc"),
        ({"warnings": ("WARNING: No swap limit support", "WARNING: No blkio throttle")}, [], ""),
        ({"has_live_restore": True}, [], ""),
        (
            {"version": "20.10.5", "is_rootless": True, "cgroup_version": 1, "missing_limits": ALL},
            ["limits", "release", "users"],
            "cannot limit",
        ),
    ],
)
def test_a_profile_has_these_troubles_and_no_others(
    changes: dict[str, Any], names: list[str], words: str
) -> None:
    """Those that refuse runs come first, and each says what to do."""
    troubles = troubles_of(but(**changes))
    assert [trouble.name for trouble in troubles] == names
    assert all(trouble.remedy for trouble in troubles)
    assert not troubles or re.search(words, troubles[0].summary)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"version": "20.10.24"}, None),
        ({"missing_limits": (Limit.SWAP,)}, None),
        ({"missing_limits": (Limit.MEMORY,)}, "cannot limit the memory.*Enable the cgroup controllers"),
        ({"missing_limits": ALL, "is_rootless": True, "cgroup_version": 1}, "cgroup v2"),
        ({"missing_limits": (Limit.CPUS,), "is_rootless": True}, "Delegate=cpu memory pids"),
        ({"log_driver": None}, "Enable the log driver"),
    ],
)
def test_runs_are_refused_only_where_a_promise_would_be_broken(
    changes: dict[str, Any], words: str | None
) -> None:
    """The refusal says which one, and what to do."""
    refusal = refusal_of(but(**changes))
    if words is None:
        assert refusal is None
    else:
        assert refusal is not None
        assert re.search(words, refusal)


def test_an_operator_can_do_without_limits_and_is_still_warned() -> None:
    """The refusal names the setting, which leaves a warning."""
    profile = but(missing_limits=(Limit.PIDS,))
    assert "require_limits = false" in (refusal_of(profile) or "")
    assert refusal_of(profile, require_limits=False) is None
    [trouble] = troubles_of(profile, require_limits=False)
    assert not trouble.refuses_runs
    assert "require_limits" not in trouble.remedy
