"""Creates containers: their labels, limits, capabilities, and what they can access on the engine's host."""

from __future__ import annotations

from typing import Any, Final

from docker.api.client import APIClient
from docker.types import LogConfig, Mount, Ulimit

from scheduler.engine.docker_dialect import DockerDialect
from scheduler.engine.docker_restarts import LABEL_ENGINE_START
from scheduler.engine.docker_secret_files import LABEL_DIRECTORIES, make_volumes, secret_mounts
from scheduler.engine.types import LABEL_EXEC, LABEL_INSTALLATION, LABEL_JOB, LaunchSpec

LOG_FILE_MEGABYTES = 64
LOG_FILES = 2
"""The engine keeps between 64 and 128 MiB of each container's output (driver ``local``, uncompressed).

It is only read after a crash, for output that the attached stream had not delivered. If a container prints more
while no daemon is reading, the oldest output is lost.
"""
_LOG_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "local": {"max-size": f"{LOG_FILE_MEGABYTES}m", "max-file": str(LOG_FILES), "compress": "false"},
    "json-file": {"max-size": f"{LOG_FILE_MEGABYTES}m", "max-file": str(LOG_FILES)},
    # Podman begins the file anew when it is full, and keeps no older one.
    "k8s-file": {"max-size": f"{LOG_FILE_MEGABYTES * LOG_FILES}m"},
}
#: Writable directories for containers with a read-only root; they count towards the container's memory.
_TEMPORARY: Final = {"/tmp": "rw,nosuid,nodev,mode=1777"}  # noqa: S108 - a path within the container


def create_container(
    client: APIClient,
    name: str,
    spec: LaunchSpec,
    installation: str,
    *,
    log_driver: str,
    dialect: DockerDialect,
    engine_start: str,
) -> dict[str, Any]:
    """Create a container; returns the engine's answer.

    Args:
        client: the engine.
        name: the container's name.
        spec: the container.
        installation: the id of this Timeball installation.
        log_driver: the driver that keeps its output.
        dialect: how the engine speaks the API.
        engine_start: what stands for the engine's present start; empty if nothing does.
    """
    named_for = None if dialect.makes_volumes_in_memory else name
    if named_for is not None:
        make_volumes(client, name, len(spec.secret_directories))
    labels = {
        **spec.labels,
        LABEL_EXEC: spec.exec_id,
        LABEL_JOB: str(spec.job_id),
        LABEL_INSTALLATION: installation,
        # Always, so that no label of the image takes its place.
        LABEL_ENGINE_START: engine_start,
    }
    if spec.secret_directories:
        labels[LABEL_DIRECTORIES] = str(len(spec.secret_directories))
    created: dict[str, Any] = client.create_container(
        spec.image,
        command=list(spec.command) if spec.command is not None else None,
        name=name,
        environment=dict(spec.environment),
        user=spec.user,
        labels=labels,
        host_config=host_config(client, spec, log_driver=log_driver, named_for=named_for),
    )
    return created


def host_config(
    client: APIClient, spec: LaunchSpec, *, log_driver: str, named_for: str | None
) -> dict[str, Any]:
    """The host configuration of a container. A spec cannot request privileges or namespaces of the host."""
    config: dict[str, Any] = client.create_host_config(
        nano_cpus=round(spec.cpus * 1_000_000_000),
        mem_limit=spec.memory_bytes,
        memswap_limit=spec.memory_bytes,  # the same value: no swap in addition to the memory
        pids_limit=spec.pids_limit,
        ulimits=None
        if spec.nofile_limit is None
        else [Ulimit(name="nofile", soft=spec.nofile_limit, hard=spec.nofile_limit)],
        log_config=LogConfig(type=log_driver, config=_LOG_OPTIONS.get(log_driver, {})),
        cap_drop=["ALL"],
        cap_add=list(spec.capabilities) or None,
        security_opt=["no-new-privileges"] if spec.no_new_privileges else None,
        # Mounts, not binds: a missing source is then an error, instead of being created by the engine.
        mounts=[
            *(Mount(m.target, m.source, type="bind", read_only=m.read_only) for m in spec.mounts),
            *secret_mounts(spec.secret_directories, named_for=named_for),
        ]
        or None,
        read_only=spec.read_only_root,
        tmpfs=_TEMPORARY if spec.read_only_root else None,
        network_mode=spec.network,
        # With an init process, a command that does not exist would start and then exit with 127.
        init=False,
    )
    return config
