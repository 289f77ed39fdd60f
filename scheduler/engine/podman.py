"""What Podman does differently behind the Docker API (``podman system service``, tried with 5.4).

Pure. Podman creates containers without checking much, and prepares them when they are attached to: conmon and the
OCI runtime then already hold the container's process, which waits for the start. Whatever is wrong with a container
is therefore reported when it is attached to, and again when it is started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from scheduler.engine.docker_dialect import DockerDialect
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.profile import Limit
from scheduler.engine.types import Capacity, EventKind, LaunchSpec

#: Suitable log drivers, the best first. ``json-file`` is accepted as another name of ``k8s-file``.
LOG_DRIVERS: Final = ("k8s-file", "journald")
#: Drivers that can lose output which was not read in time, and how.
TRUNCATES_OUTPUT: Final = {
    "journald": "With the log driver journald, the journal may drop output of runs (RateLimitBurst), which cannot be "
    "read again after a crash",
}
#: Promises that are kept on Docker Engine and cannot be kept with Podman.
GAPS: Final = (
    "a directory that is mounted and does not exist is created on the host instead of failing the run",
    "output that is read again after a crash has times of whole seconds, and at most its last 128 MiB remain",
    "users other than root have no capabilities, even if their job requests some",
)
#: Podman ignores all limits of a rootless container with cgroup v1, and reports otherwise.
LIMITS_MISSING_WITHOUT_ROOT: Final = (Limit.CPUS, Limit.MEMORY, Limit.SWAP, Limit.PIDS)
#: The least memory of a container, as for Docker Engine: the OCI runtime needs some before the command starts.
LEAST_MEMORY: Final = 6 << 20

_EVENTS: Final = {EventKind.DESTROY: "remove"}
_ROOT: Final = ("", "0", "root")
_RUNS_ALREADY: Final = "container is running"
_KINDS: Final = {name: kind for kind, name in _EVENTS.items()}
# The runtime (crun, runc) refuses the command, a mount, a limit or a capability.
_REFUSED_BY_RUNTIME: Final = ("oci runtime", "crun: ", "runc: ", "no such file or directory")


def answers(version: Mapping[str, Any]) -> bool:
    """Whether an answer to ``GET /version`` is Podman's."""
    return any("podman" in str(part.get("Name", "")).lower() for part in version.get("Components") or ())


class PodmanDialect(DockerDialect):
    """Podman."""

    tells_restarts = False
    checks_specs = False
    only_reads_at_attach = False
    makes_volumes_in_memory = False
    ends_paused = False
    removes_at_once = False

    @property
    def event_names(self) -> list[str]:
        """Podman calls a removal ``remove``."""
        return [_EVENTS.get(kind, kind.value) for kind in EventKind]

    def event_kind(self, name: str) -> EventKind:
        """The kind of an event by Podman's name."""
        return _KINDS.get(name) or EventKind(name)

    def is_name_taken(self, error: EngineRefusedError) -> bool:
        """Podman answers with status 500."""
        return error.status == 409 or (error.status == 500 and "is already in use" in error.words)

    def is_launch_refused_at_attach(self, error: EngineRefusedError) -> bool:
        """Podman asks the runtime to create the container when it is attached to."""
        return (
            error.status == 500
            and not error.in_trouble
            and any(part in error.words.lower() for part in _REFUSED_BY_RUNTIME)
        )

    def start_error(self, words: str) -> str:
        """Podman also notes there that a running container was started again."""
        return "" if words.endswith(_RUNS_ALREADY) else words

    def as_created(self, spec: LaunchSpec, *, image_user: str) -> LaunchSpec:
        """Without capabilities for other users than root.

        Podman gives a container's capabilities to the process of any user; with Docker Engine, only root has them.
        """
        user = (image_user if spec.user is None else spec.user).partition(":")[0]
        return spec if user in _ROOT else replace(spec, capabilities=())

    def why_refused(self, spec: LaunchSpec, capacity: Capacity, *, has_command: bool) -> str | None:
        """What Docker Engine checks, in its words."""
        if not has_command:
            return "No command specified, and the image has none"
        if spec.cpus > capacity.cpus:
            return f"there are only {capacity.cpus:g} CPUs available, not {spec.cpus:g}"
        if spec.memory_bytes < LEAST_MEMORY:
            return "Minimum memory limit allowed is 6MB"
        return None
