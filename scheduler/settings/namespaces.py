"""What the settings allow each namespace, in the form in which those ask for it who decide."""

from __future__ import annotations

import functools
from collections.abc import Callable

from scheduler.admission.facts import NamespacePolicy, PolicyOf
from scheduler.policy.container_policy import ContainerPolicy
from scheduler.policy.options import policy_of as merged
from scheduler.settings.settings import Settings


def policies_of(settings: Settings) -> PolicyOf:
    """Tells of a namespace how many of its runs may be going, and its weight."""

    def policy_of(name: str) -> NamespacePolicy:
        found = settings.namespace(name)
        return NamespacePolicy(found.max_running, found.weight)

    # Bounded: callers may invent any number of names.
    return functools.lru_cache(4096)(policy_of)


def container_policies_of(settings: Settings) -> Callable[[str], ContainerPolicy]:
    """Tells of a namespace what its containers may do."""

    def policy_of(name: str) -> ContainerPolicy:
        own = settings.namespaces.get(name)
        layers = (settings.policy, settings.namespace_defaults.policy, own.policy if own else None)
        return merged(layers, pids_limit=settings.pids_limit)

    # Bounded: callers may invent any number of names.
    return functools.lru_cache(4096)(policy_of)
