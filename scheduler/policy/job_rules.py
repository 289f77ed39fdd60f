"""The rules of a job's definition beyond its shape, and the cursor of a changed schedule.

Pure: uses the configured sizes and regions and the arithmetic of schedules; no I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.domain.errors import FieldError, InvalidInputError, ScheduleError
from scheduler.domain.job import Command, Job, JobDefinition, ScheduleCursor, Size, command_words
from scheduler.domain.secret_files import check_secret_files
from scheduler.policy.container_policy import ContainerPolicy, violations
from scheduler.timing.schedule import TimezoneError, check_timezone, parse_schedule, start_schedule

MICROSECOND = timedelta(microseconds=1)
#: The fields that determine when a job is due. A change of any of them restarts the schedule.
SCHEDULE_FIELDS = ("is_schedule_active", "schedule_mode", "schedule_timezone")


def check_definition(
    definition: JobDefinition,
    *,
    sizes: Mapping[str, Size],
    regions: Collection[str],
    policy: ContainerPolicy,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Check that a definition can run.

    A job whose region or size is no longer configured can still be changed, for example switched off.

    Args:
        definition: after the changes.
        sizes: the configured sizes.
        regions: the configured regions.
        policy: the container policy of its namespace.
        changes: the changed fields of a stored job; None for a new job.

    Raises:
        InvalidInputError: names every invalid field, its value, and what to do.
    """
    is_whole = changes is None or changes.get("is_schedule_active")
    named: Collection[str] = ("resource_size", "region_name") if is_whole else (changes or ())
    errors = [
        *(check_size(definition.resource_size, sizes) if "resource_size" in named else []),
        *check_command(definition.command),
        *check_schedule(
            definition.schedule_mode, definition.schedule_timezone, is_active=definition.is_schedule_active
        ),
        *(check_secret_files(definition) if {"secret_files", "mounts"} & {*(changes or ("mounts",))} else []),
        *(
            error
            for error in violations(policy, definition.docker_image_repo, definition)
            if is_whole or not changes or error.field in changes or "namespace" in changes
        ),
    ]
    if "region_name" in named and definition.region_name not in regions:
        errors.append(
            FieldError(
                "region_name",
                definition.region_name,
                "is not a configured region",
                f"use one of {', '.join(regions)}, or ask an administrator to configure it",
            )
        )
    if errors:
        raise InvalidInputError(*errors)


def with_image(definition: JobDefinition, before: JobDefinition, changes: Collection[str]) -> JobDefinition:
    """The definition without the digest of its image, if the image was changed or is no longer pinned.

    Args:
        definition: after the changes.
        before: before the changes.
        changes: the names of the changed fields; a digest among them is kept.
    """
    same = all(
        getattr(definition, name) == getattr(before, name)
        for name in ("docker_image_repo", "docker_image_tag")
    )
    if "docker_image_digest" in changes or (same and definition.pin_digest >= before.pin_digest):
        return definition
    return replace(definition, docker_image_digest=None)


def check_size(name: str, sizes: Mapping[str, Size]) -> list[FieldError]:
    """The errors of the name of a size."""
    if name in sizes:
        return []
    return [FieldError("resource_size", name, "is not a configured size", f"use one of {', '.join(sizes)}")]


def check_command(command: Command) -> list[FieldError]:
    """The errors of a command."""
    try:
        words = command_words(command)
    except ValueError as error:
        return [
            FieldError(
                "command",
                command,
                f"cannot be split into words: {error}".replace("No closing", "no closing"),
                "close the quotation mark, or write the words as a list of strings",
            )
        ]
    if words is not None and not words[0]:
        return [
            FieldError(
                "command",
                command,
                "starts with an empty word, which cannot be a program",
                "start with a program, or use null for the image's own command",
            )
        ]
    return []


def check_schedule(text: str | None, zone: str | None, *, is_active: bool) -> list[FieldError]:
    """The errors of a schedule, its time zone, and its activation."""
    errors = []
    try:
        check_timezone("UTC" if zone is None else zone)
    except TimezoneError as error:
        errors.append(error.as_field_error("schedule_timezone"))
        zone = None
    if text is not None:
        try:
            parse_schedule(text, zone)
        except ScheduleError as error:
            errors.append(error.as_field_error("schedule_mode", "schedule"))
    elif is_active:
        errors.append(
            FieldError(
                "schedule_mode",
                None,
                "is required when is_schedule_active is true",
                "set a schedule such as R/2026-01-01T00:00:00Z/PT1H, or set is_schedule_active to false",
            )
        )
    return errors


def with_schedule(
    definition: JobDefinition, before: Job | None, now: datetime
) -> tuple[JobDefinition, ScheduleCursor]:
    """The definition, with a start if its schedule has none, and the cursor of its schedule.

    Args:
        definition: already checked.
        before: the job before the change; None for a new job.
        now: the current time (UTC); earlier due times do not count.
    """
    if before is not None and all(
        getattr(before.definition, field) == getattr(definition, field) for field in SCHEDULE_FIELDS
    ):
        return definition, before.cursor
    revision = 0 if before is None else before.cursor.revision + 1
    if not definition.is_schedule_active or definition.schedule_mode is None:
        return definition, ScheduleCursor(revision=revision)
    text = start_schedule(definition.schedule_mode, definition.schedule_timezone, now)
    schedule = parse_schedule(text, definition.schedule_timezone)
    cursor = ScheduleCursor(
        revision=revision, active_since=now, next_due_at=schedule.next_after(now - MICROSECOND)
    )
    return replace(definition, schedule_mode=text), cursor
