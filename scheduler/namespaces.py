"""What the settings allow each namespace, in the form in which admission asks for it."""

from __future__ import annotations

import functools

from scheduler.admission.facts import NamespacePolicy, PolicyOf
from scheduler.settings import Settings


def policies_of(settings: Settings) -> PolicyOf:
    """Tells of a namespace how many of its runs may be going, and its weight."""

    def policy_of(name: str) -> NamespacePolicy:
        found = settings.namespace(name)
        return NamespacePolicy(found.max_running, found.weight)

    # Bounded: callers may invent any number of names.
    return functools.lru_cache(4096)(policy_of)
