"""Webhooks: creating, reading, changing and deleting them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy.engine import Connection

from scheduler.access.audit import record
from scheduler.access.callers import LARGEST_ID, LONGEST_SHOWN_ID, Caller, Role, demand, visible_job
from scheduler.domain.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from scheduler.domain.hook import Hook, SubjectType
from scheduler.domain.views import Page
from scheduler.notify.addresses import RefusedAddressError
from scheduler.notify.signing import PREFIX, keys_of
from scheduler.store import hooks, jobs
from scheduler.usecases.parts import Parts

#: Maximum number of webhooks per job, and per namespace.
MOST_HOOKS: Final = 50
_HOOK_ID: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class HookUseCases:
    """Use cases for webhooks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> Hook:
        """Create a webhook.

        Args:
            caller: an editor of what it watches.
            fields: `name`, `url`, `subject_type`, `subject` and `events`; optionally `secret` and `is_active`.

        Raises:
            NotFoundError: the caller can see no such subject.
            InvalidInputError: a field is invalid.
            ConflictError: the subject has the maximum number of webhooks.
            ForbiddenError: the caller may not create webhooks there.
        """
        async with self._parts.vault.sealing():
            return await self._create(caller, fields)

    async def _create(self, caller: Caller, fields: Mapping[str, Any]) -> Hook:
        values = {"is_active": True, **self._checked(fields)}
        kind, subject = values.pop("subject_type"), values.pop("subject")
        values.setdefault("sealed_secret", None)
        now = self._parts.clock.now()

        def work(connection: Connection) -> Hook:
            values.update(_watched(connection, caller, kind, subject))
            _check_count(connection, values)
            hook = hooks.insert(connection, now=now, created_by=caller.user, **values)
            _, namespace = visible_hook(connection, caller, str(hook.id))
            record(connection, caller, "hook.create", f"hook {hook.id}", now=now, namespace=namespace)
            return hook

        return await self._parts.database.write(work)

    async def list(
        self, caller: Caller, *, subject_type: SubjectType | None, subject: str | None, page: Page
    ) -> list[Hook]:
        """The webhooks that the caller may see, in the order of creation, optionally of one subject only."""
        job_id = int(subject) if subject is not None and _is_id(subject) else None
        if subject is not None and subject_type is not SubjectType.NAMESPACE and job_id is None:
            return []
        is_namespace = subject_type is SubjectType.NAMESPACE
        return await self._parts.database.read(
            lambda connection: hooks.page(
                connection,
                visible_in=caller.namespace,
                job_id=None if is_namespace else job_id,
                namespace=subject if is_namespace else None,
                kind=None if subject_type is None else subject_type.value,
                offset=page.offset,
                limit=page.size,
            )
        )

    async def get(self, caller: Caller, hook_id: str) -> Hook:
        """One webhook.

        Raises:
            NotFoundError: the caller can see no webhook with this id.
        """
        hook, _ = await self._parts.database.read(
            lambda connection: visible_hook(connection, caller, hook_id)
        )
        return hook

    async def update(self, caller: Caller, hook_id: str, fields: Mapping[str, Any]) -> Hook:
        """Change the given fields, and keep the others.

        Raises:
            NotFoundError: the caller can see no such webhook or subject.
            InvalidInputError: a field is invalid; nothing is changed.
            ForbiddenError: the caller may not change webhooks there.
        """
        async with self._parts.vault.sealing():
            return await self._update(caller, hook_id, fields)

    async def _update(self, caller: Caller, hook_id: str, fields: Mapping[str, Any]) -> Hook:
        values = self._checked(fields)
        kind, subject = values.pop("subject_type", None), values.pop("subject", None)
        now = self._parts.clock.now()

        def work(connection: Connection) -> Hook:
            before, namespace = visible_hook(connection, caller, hook_id)
            demand(caller, Role.EDITOR, namespace)
            if kind is not None or subject is not None:
                wanted = kind or before.subject_type
                watched = _watched(connection, caller, wanted, before.subject if subject is None else subject)
                if watched != {"job_id": before.job_id, "namespace": before.namespace}:
                    _check_count(connection, watched)
                values.update(watched)
            hooks.update(connection, before.id, now=now, **values)
            record(connection, caller, "hook.update", f"hook {before.id}", now=now, namespace=namespace)
            return replace(before, **values, updated_at=now)

        return await self._parts.database.write(work)

    async def delete(self, caller: Caller, hook_id: str) -> None:
        """Delete a webhook with its deliveries.

        Raises:
            NotFoundError: the caller can see no such webhook.
            ForbiddenError: the caller may not delete webhooks there.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            hook, namespace = visible_hook(connection, caller, hook_id)
            demand(caller, Role.EDITOR, namespace)
            hooks.delete(connection, hook.id)
            record(connection, caller, "hook.delete", f"hook {hook.id}", now=now, namespace=namespace)

        await self._parts.database.write(work)

    def _checked(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields as they are stored.

        Raises:
            InvalidInputError: deliveries may not go to the URL, or the secret is not a valid key.
        """
        values, errors = dict(fields), []
        if "url" in values:
            try:
                self._parts.deliverer.poster.policy.check_url(values["url"])
            except RefusedAddressError as error:
                errors.append(FieldError("url", values["url"], error.message, error.remedy))
        if "secret" in values:
            secret = values.pop("secret")
            if secret is not None and not keys_of(secret):
                # The value is not shown: it may be a real secret with a typo.
                errors.append(
                    FieldError(
                        "secret",
                        None,
                        f"begins with {PREFIX}, but the rest is not valid base64",
                        f"write {PREFIX} followed by the base64-encoded key, or any text without {PREFIX}",
                    )
                )
            values["sealed_secret"] = None if secret is None else self._parts.vault.sealed_for_hook(secret)
        if errors:
            raise InvalidInputError(*errors)
        return values


def _is_id(text: str) -> bool:
    return _HOOK_ID.fullmatch(text) is not None and int(text) <= LARGEST_ID


def _watched(connection: Connection, caller: Caller, kind: SubjectType, subject: int | str) -> dict[str, Any]:
    """What a webhook watches, as it is stored; checks that the caller may define webhooks there.

    Raises:
        NotFoundError: the caller can see no such job or namespace.
        InvalidInputError: the subject is not a job's id.
        ForbiddenError: the caller may not define webhooks there.
    """
    if kind is SubjectType.NAMESPACE:
        if caller.namespace not in (None, str(subject)):
            raise NotFoundError(f"There is no namespace '{str(subject)[:LONGEST_SHOWN_ID]}'")
        demand(caller, Role.EDITOR, str(subject))
        return {"job_id": None, "namespace": str(subject)}
    if not _is_id(str(subject)):
        raise InvalidInputError(
            FieldError("subject", subject, "is not the id of a job", "use the id of an existing job")
        )
    job = visible_job(connection, caller, str(subject))
    demand(caller, Role.EDITOR, job.definition.namespace)
    return {"job_id": job.id, "namespace": None}


def _check_count(connection: Connection, watched: Mapping[str, Any]) -> None:
    job_id, namespace = watched["job_id"], watched["namespace"]
    if hooks.count(connection, job_id=job_id, namespace=namespace) >= MOST_HOOKS:
        shown = f"Namespace '{namespace}'" if job_id is None else f"Job {job_id}"
        raise ConflictError(
            f"{shown} already has {MOST_HOOKS} webhooks, which is the maximum; delete one first"
        )


def visible_hook(connection: Connection, caller: Caller, hook_id: str) -> tuple[Hook, str]:
    """The webhook with an id as it is written in a path, and the namespace that it belongs to.

    Raises:
        NotFoundError: the text is not an id, or the caller can see no webhook with this id.
    """
    hook = hooks.get(connection, int(hook_id)) if _is_id(hook_id) else None
    namespace = None if hook is None else hook.namespace
    if hook is not None and hook.job_id is not None:
        job = jobs.get(connection, hook.job_id)
        namespace = None if job is None else job.definition.namespace
    if hook is None or namespace is None or caller.namespace not in (None, namespace):
        raise NotFoundError(f"There is no webhook with the id '{hook_id[:LONGEST_SHOWN_ID]}'")
    return hook, namespace
