"""Two runs are compared in all that a run is to do."""

from __future__ import annotations

from dataclasses import fields

from scheduler.domain import comparing
from scheduler.domain.execution import ExecSpec

#: Compared entry by entry.
ENTRIES = {"runtime_vars", "labels", "secret_files"}
#: How the image was chosen; what counts is which it was, which is compared.
CHOICE = {"pin_digest", "docker_image_digest"}


def test_every_field_of_a_run_is_compared() -> None:
    """A new one has to be put into its place among the others."""
    assert {field.name for field in fields(ExecSpec)} - ENTRIES - CHOICE == set(comparing._OPTIONS)
