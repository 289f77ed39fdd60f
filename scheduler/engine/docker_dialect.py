"""How an engine speaks the Docker API: what Docker Engine does, and what other products do in another way.

Pure. `DockerDialect` is Docker Engine itself; a product that differs has a class derived from it in a module of its
own. All differences are here, so that nothing else asks which product answers.
"""

from __future__ import annotations

from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.types import Capacity, EventKind, LaunchSpec


class DockerDialect:
    """Docker Engine.

    Attributes:
        tells_restarts: whether it can be found out that the engine was not restarted since it created a container.
        checks_specs: whether the engine itself refuses specs that it cannot run when a container is created.
        only_reads_at_attach: whether attaching to a container changes nothing about it.
        makes_volumes_in_memory: whether a container's anonymous volumes can be in memory.
        ends_paused: whether a paused container can be stopped and killed.
        removes_at_once: whether a forced removal of a running container does not wait for a grace period.
    """

    tells_restarts = True
    checks_specs = True
    only_reads_at_attach = True
    makes_volumes_in_memory = True
    ends_paused = True
    removes_at_once = True

    @property
    def event_names(self) -> list[str]:
        """The names of the events to subscribe to."""
        return [kind.value for kind in EventKind]

    def event_kind(self, name: str) -> EventKind:
        """The kind of an event by its name.

        Raises:
            ValueError: there is no such kind.
        """
        return EventKind(name)

    def is_name_taken(self, error: EngineRefusedError) -> bool:
        """Whether a container was refused because another one has its name."""
        return error.status == 409

    def is_launch_refused_at_attach(self, error: EngineRefusedError) -> bool:
        """Whether attaching was refused because the container cannot be started; the start will say why."""
        del error
        return False

    def start_error(self, words: str) -> str:
        """Why a container could not be started, from the error in its state; empty if it could be."""
        return words

    def as_created(self, spec: LaunchSpec, *, image_user: str) -> LaunchSpec:
        """The spec to create a container from.

        Args:
            spec: the container.
            image_user: the user of its image; empty for root.
        """
        del image_user
        return spec

    def why_refused(self, spec: LaunchSpec, capacity: Capacity, *, has_command: bool) -> str | None:
        """Why a container must not be created although the engine would do it; None if it may be created.

        Args:
            spec: the container.
            capacity: the capacity of the engine's host.
            has_command: whether the spec or the image has a command.
        """
        del spec, capacity, has_command
        return None
