"""What a definition must satisfy beyond its shape, and where a changed schedule stands.

Pure: asks the settings' sizes and regions and the schedule's arithmetic; reads and writes nothing.
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
#: The fields that decide when a job is due; a change of any of them starts its schedule anew.
SCHEDULE_FIELDS = ("is_schedule_active", "schedule_mode", "schedule_timezone")


def check_definition(
    definition: JobDefinition,
    *,
    sizes: Mapping[str, Size],
    regions: Collection[str],
    policy: ContainerPolicy,
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Accept a definition that can run.

    A job whose region or size is no longer configured may still be changed, above all be switched off.

    Args:
        definition: with its changes.
        sizes: the configured ones.
        regions: the configured ones.
        policy: what the containers of its namespace may do.
        changes: what a change of a stored job names; None for a new one.

    Raises:
        InvalidInputError: names every field that is wrong, its value, and what to write instead.
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
                f"use one of {', '.join(regions)}, or configure it",
            )
        )
    if errors:
        raise InvalidInputError(*errors)


def with_image(definition: JobDefinition, before: JobDefinition, changes: Collection[str]) -> JobDefinition:
    """The definition without the digest of an image that it names no more, or pins no more.

    Args:
        definition: with its changes.
        before: without them.
        changes: the fields that are changed; a digest that is among them stays.
    """
    same = all(
        getattr(definition, name) == getattr(before, name)
        for name in ("docker_image_repo", "docker_image_tag")
    )
    if "docker_image_digest" in changes or (same and definition.pin_digest >= before.pin_digest):
        return definition
    return replace(definition, docker_image_digest=None)


def check_size(name: str, sizes: Mapping[str, Size]) -> list[FieldError]:
    """What is wrong with the name of a size; empty if nothing is."""
    if name in sizes:
        return []
    return [FieldError("resource_size", name, "is not a configured size", f"use one of {', '.join(sizes)}")]


def check_command(command: Command) -> list[FieldError]:
    """What is wrong with a command; empty if nothing is."""
    try:
        words = command_words(command)
    except ValueError as error:
        return [
            FieldError(
                "command",
                command,
                f"cannot be split into words: {error}".replace("No closing", "no closing"),
                "close the quotation, or give the words as a list of strings",
            )
        ]
    if words is not None and not words[0]:
        return [
            FieldError(
                "command",
                command,
                "begins with an empty word, which is no program's name",
                "begin with a program, or give null for the image's own command",
            )
        ]
    return []


def check_schedule(text: str | None, zone: str | None, *, is_active: bool) -> list[FieldError]:
    """What is wrong with a schedule, its zone, or its being switched on; empty if nothing is."""
    errors = []
    try:
        check_timezone("UTC" if zone is None else zone)
    except TimezoneError as error:
        errors.append(FieldError("schedule_timezone", zone, error.message, error.remedy))
        zone = None
    if text is not None:
        try:
            parse_schedule(text, zone)
        except ScheduleError as error:
            where = f"{error.message} (at position {error.position + 1})"
            errors.append(FieldError("schedule_mode", text, where, error.remedy))
    elif is_active:
        errors.append(
            FieldError(
                "schedule_mode",
                None,
                "is needed to switch the schedule on",
                "give a schedule such as R/2026-01-01T00:00:00Z/PT1H, or is_schedule_active: false",
            )
        )
    return errors


def with_schedule(
    definition: JobDefinition, before: Job | None, now: datetime
) -> tuple[JobDefinition, ScheduleCursor]:
    """The definition with its start written in where it has none, and where its schedule stands now.

    Args:
        definition: checked.
        before: the job as it was; None for a new one.
        now: the present (UTC): due times before it never happened.
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
