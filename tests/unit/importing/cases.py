"""What the tests of all formats say: a file's jobs, and the notes of its lines."""

from __future__ import annotations

from typing import Any

from api.cli.importing.detect import Format, read
from api.cli.importing.finish import Choices, finish
from api.cli.importing.result import Imported


def taken(text: str, form: Format | None = None, file: str = "file") -> tuple[list[dict[str, Any]], Imported]:
    """The jobs of a file as `apply` would send them, and all notes."""
    _, result = read(text, file, form)
    jobs = finish(result, file, Choices())
    given = [
        {"name": job.name, **({"namespace": job.namespace} if job.namespace else {}), **job.fields}
        for job in jobs
    ]
    return given, result


def one(text: str, form: Format | None = None) -> dict[str, Any]:
    """The file's only job."""
    jobs, result = taken(text, form)
    assert len(jobs) == 1, result.notes
    return jobs[0]


def notes(text: str, form: Format | None = None) -> list[tuple[int, str]]:
    """What is said of the file's lines."""
    _, result = taken(text, form)
    return [(note.line, note.text) for note in result.notes if note.line is not None]
