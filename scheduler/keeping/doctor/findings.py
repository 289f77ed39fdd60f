"""What an examination finds: one finding a thing looked at, with a status, an explanation and a remedy.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FindingStatus(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"  # works, and wants looking after
    PROBLEM = "problem"  # does not work, or will not for long


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing is.

    Attributes:
        check: what was looked at, the same every time.
        status: how it is.
        summary: what that means, for people.
        remedy: what to do; None if there is nothing to do.
        details: figures and names, for programs.
    """

    check: str
    status: FindingStatus
    summary: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def worst(findings: Sequence[Finding]) -> FindingStatus:
    """The worst of them."""
    order = list(FindingStatus)
    return max((finding.status for finding in findings), key=order.index, default=FindingStatus.OK)


def ok(check: str, summary: str, **details: Any) -> Finding:
    """Nothing to do."""
    return Finding(check, FindingStatus.OK, summary, None, details)


def warning(check: str, summary: str, remedy: str, **details: Any) -> Finding:
    """Wants looking after."""
    return Finding(check, FindingStatus.WARNING, summary, remedy, details)


def problem(check: str, summary: str, remedy: str, **details: Any) -> Finding:
    """Does not work, or will not for long."""
    return Finding(check, FindingStatus.PROBLEM, summary, remedy, details)
