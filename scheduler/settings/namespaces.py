"""The settings of each namespace, in the form that admission and the container policy use."""

from __future__ import annotations

import functools
from collections.abc import Callable

from scheduler.admission.facts import NamespacePolicy, PolicyOf
from scheduler.policy.container_policy import ContainerPolicy
from scheduler.policy.options import policy_of as merged
from scheduler.settings.settings import Settings


def policies_of(settings: Settings) -> PolicyOf:
    """A function that returns a namespace's limit of concurrent runs and its weight."""

    def policy_of(name: str) -> NamespacePolicy:
        namespace = settings.namespace(name)
        return NamespacePolicy(namespace.max_running, namespace.weight)

    # Bounded: callers can send any number of names.
    return functools.lru_cache(4096)(policy_of)


def container_policies_of(settings: Settings) -> Callable[[str], ContainerPolicy]:
    """A function that returns a namespace's container policy."""

    def policy_of(name: str) -> ContainerPolicy:
        own = settings.namespaces.get(name)
        layers = (settings.policy, settings.namespace_defaults.policy, own.policy if own else None)
        return merged(layers, pids_limit=settings.pids_limit)

    # Bounded: callers can send any number of names.
    return functools.lru_cache(4096)(policy_of)
