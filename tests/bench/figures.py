"""How figures are taken and shown: medians and percentiles, each beside its limit."""

# ruff: noqa: T201  figures are printed
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure.

    Attributes:
        name: what was measured.
        value: as it came out.
        limit: what it may be at most, or at least where `at_least` is set.
        unit: of both.
        detail: what it was made of, for people.
    """

    name: str
    value: float
    limit: float
    unit: str
    detail: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it keeps to its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def show(self) -> None:
        """Print it."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.is_met else "NOT MET"
        print(f"{self.name}: {self.value:.3g} {self.unit} ({sign} {self.limit:g}: {verdict}) {self.detail}")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return percentile(values, 0.5)


def resident_megabytes(pid: int) -> float:
    """A process's resident memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1e3
