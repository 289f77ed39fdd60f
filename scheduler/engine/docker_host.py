"""How a Docker Engine is told what a container may use and do: limits, powers, what it sees of its machine."""

from __future__ import annotations

from typing import Any, Final

from docker.api.client import APIClient
from docker.types import LogConfig, Mount, Ulimit

from scheduler.engine.docker_secret_files import secret_mounts
from scheduler.engine.protocol import LaunchSpec

LOG_FILE_MEGABYTES = 64
LOG_FILES = 2
"""The engine keeps between 64 and 128 MiB of each container's output (driver ``local``, uncompressed).

It is only read after a crash, for what the attached stream had not delivered; more than this, printed while
no daemon listened, is lost at its oldest end.
"""
#: What programs find writable where the root is read-only; it counts as the container's memory.
_TEMPORARY: Final = {"/tmp": "rw,nosuid,nodev,mode=1777"}  # noqa: S108 - a path within the container


def host_config(client: APIClient, spec: LaunchSpec) -> dict[str, Any]:
    """The host's side of a container. Privileges and namespaces of the host are not among what a spec can ask for."""
    config: dict[str, Any] = client.create_host_config(
        nano_cpus=round(spec.cpus * 1_000_000_000),
        mem_limit=spec.memory_bytes,
        memswap_limit=spec.memory_bytes,  # the same: no swap beside the memory
        pids_limit=spec.pids_limit,
        ulimits=None
        if spec.nofile_limit is None
        else [Ulimit(name="nofile", soft=spec.nofile_limit, hard=spec.nofile_limit)],
        log_config=LogConfig(
            type="local",
            config={
                "max-size": f"{LOG_FILE_MEGABYTES}m",
                "max-file": str(LOG_FILES),
                "compress": "false",
            },
        ),
        cap_drop=["ALL"],
        cap_add=list(spec.capabilities) or None,
        security_opt=["no-new-privileges"] if spec.no_new_privileges else None,
        # As mounts and not as binds: a source that is missing is an error then, and is not made by the engine.
        mounts=[
            *(Mount(m.target, m.source, type="bind", read_only=m.read_only) for m in spec.mounts),
            *secret_mounts(spec.secret_directories),
        ]
        or None,
        read_only=spec.read_only_root,
        tmpfs=_TEMPORARY if spec.read_only_root else None,
        network_mode=spec.network,
        # With an init process a command that does not exist would start well and then exit with 127.
        init=False,
    )
    return config
