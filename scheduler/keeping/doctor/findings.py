"""The results of the doctor: one finding per check, with a status, an explanation and a remedy.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class FindingStatus(StrEnum):
    """The status of a check."""

    OK = "ok"
    WARNING = "warning"  # works, but needs attention
    PROBLEM = "problem"  # does not work, or will soon stop working


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        check: the check's name, always the same.
        status: the result.
        summary: an explanation for people.
        remedy: what to do; None if nothing needs to be done.
        details: figures and names for programs.
    """

    check: str
    status: FindingStatus
    summary: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def worst(findings: Sequence[Finding]) -> FindingStatus:
    """The most severe status."""
    order = list(FindingStatus)
    return max((finding.status for finding in findings), key=order.index, default=FindingStatus.OK)


def ok(check: str, summary: str, **details: Any) -> Finding:
    """A check without a problem."""
    return Finding(check, FindingStatus.OK, summary, None, details)


def warning(check: str, summary: str, remedy: str, **details: Any) -> Finding:
    """Something that needs attention."""
    return Finding(check, FindingStatus.WARNING, summary, remedy, details)


def problem(check: str, summary: str, remedy: str, **details: Any) -> Finding:
    """Something that does not work, or will soon stop working."""
    return Finding(check, FindingStatus.PROBLEM, summary, remedy, details)
