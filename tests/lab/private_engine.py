"""A Docker Engine of the tests' own, which they may kill, freeze and restart.

It lives in a network namespace of its own, with its own data and containerd: a second dockerd in the machine's
own namespace would take the first one's bridge away. It reaches no registry; images are copied into it. It is of
the same kind as the engine of the other tests: ``deploy/test`` puts that one's programs first on the path, and
names its configuration (the image store) in ``ENGINE_CONFIG_FOR_TESTS``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from docker.api.client import APIClient

#: Only ends a hang: beside many others on two processors, an engine has been seen to take more than a minute.
START_SECONDS = 180
#: What newer engines say of a container that ended while they and their containerd were dead; 20.10 learns the truth.
LOST_EXIT_CODE = 255
TOOLS = ("dockerd", "containerd", "ip", "nsenter", "unshare", "umount")


def why_no_private_engine() -> str | None:
    """What is missing to start an engine, or None."""
    if os.geteuid() != 0:
        return "only root can start a dockerd of its own"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"no {', '.join(missing)} on the path; install docker.io, iproute2 and util-linux"
    return None


class PrivateEngine:
    """One dockerd; stopped when made.

    Args:
        options: further ones of dockerd's.
        disk_mib: the size of a disk of its own; None for what the machine has.

    Attributes:
        url: where it listens.
        state_file: what its runtime writes into the folder of a container.
    """

    state_file = "state.json"

    def __init__(self, *options: str, disk_mib: int | None = None) -> None:
        self._name = f"timeball-{uuid.uuid4().hex[:8]}"
        self._folder = Path(tempfile.mkdtemp(prefix="tb-private-"))
        self._socket = self._folder / "docker.sock"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"
        if disk_mib is not None:
            data = self._folder / "data"
            data.mkdir()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={disk_mib}m", "tmpfs", str(data)], check=True
            )
        subprocess.run(["ip", "netns", "add", self._name], check=True)
        subprocess.run(["ip", "-n", self._name, "link", "set", "lo", "up"], check=True)

    @property
    def runtime_folder(self) -> Path:
        """Where its runtime has a folder for each container that it has made; it may not be there yet."""
        return self._folder / "exec/runtime-runc/moby"

    def start(self) -> None:
        """Start it, again too, and return when it answers."""
        command = ["nsenter", f"--net=/run/netns/{self._name}", "unshare", "--uts", "dockerd"]
        command += ["--data-root", f"{self._folder}/data", "--exec-root", f"{self._folder}/exec"]
        command += ["--pidfile", f"{self._folder}/pid", "--host", self.url, *self._options]
        if config := os.environ.get("ENGINE_CONFIG_FOR_TESTS"):
            command += ["--config-file", config]
        (self._folder / "pid").unlink(missing_ok=True)  # a killed one leaves it behind
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"dockerd did not come up: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: it is gone at once, with its containerd; containers go on without it."""
        containerd = int((self._folder / "exec/containerd/containerd.pid").read_text())
        self._signal(signal.SIGKILL)
        self._wait()
        # A containerd that outlives its dockerd, if only as a zombie, is taken by the next one for alive.
        with suppress(ProcessLookupError):
            os.kill(containerd, signal.SIGKILL)
        (self._folder / "exec/containerd/containerd.pid").unlink(missing_ok=True)

    def forget_start(self, engine_id: str) -> None:
        """While it is dead: note a container as it was before its start, as if killed amid that."""
        noted = self._folder / "data/containers" / engine_id / "config.v2.json"
        known = json.loads(noted.read_text())
        known["State"].update(Running=False, Pid=0, StartedAt="0001-01-01T00:00:00Z")
        noted.write_text(json.dumps(known))

    def forget_events(self, engine_id: str) -> None:
        """Have more events than it remembers (256), by renaming one of its containers."""
        with APIClient(self.url, version="auto") as own:
            for number in range(300):
                own.rename(engine_id, f"{engine_id[:12]}-{number}")

    def wipe(self) -> None:
        """While it is dead: take away all that it had, images and what still runs among it."""
        for noted in (self._folder / "data/containers").glob("*/config.v2.json"):
            if pid := json.loads(noted.read_text())["State"]["Pid"]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.end_forgotten()
        self._unmount()
        for part in ("data", "exec"):
            shutil.rmtree(self._folder / part)

    def stop(self) -> None:
        """SIGTERM: it ends its containers (unless made with ``--live-restore``) and itself."""
        self._signal(signal.SIGTERM)
        self._wait()

    def freeze(self) -> None:
        """Accept connections, and answer none; from the return on, for each thread stops when it comes to it."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + START_SECONDS
        while not self._stands_still():
            assert time.monotonic() < deadline, "it does not stop"
            time.sleep(0.01)

    def thaw(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """Leave no room on the disk of its own."""
        with suppress(OSError), (self._folder / "data" / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)

    def free_disk(self) -> None:
        """Give the room back."""
        (self._folder / "data" / "ballast").unlink()

    def load(self, client: APIClient, image: str) -> None:
        """Copy an image from another engine."""
        with APIClient(self.url, version="auto") as own:
            for _ in own.load_image(b"".join(client.get_image(image))):  # type: ignore[no-untyped-call]
                pass

    def destroy(self) -> None:
        """Remove whatever it has made, its containers first."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        self.thaw()
        with APIClient(self.url, version="auto") as own:
            for found in own.containers(all=True, quiet=True):
                own.remove_container(found["Id"], v=True, force=True)
        self.stop()
        self.end_forgotten()
        self._unmount()
        shutil.rmtree(self._folder)
        subprocess.run(["ip", "netns", "delete", self._name], check=True)

    def _unmount(self) -> None:
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted((m for m in mounts if m.startswith(str(self._folder))), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=True)

    def end_forgotten(self) -> None:
        """End the keepers of processes that it started and forgot; nobody else would."""
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                words = (entry / "cmdline").read_bytes()
                if b"containerd-shim" in words and str(self._folder).encode() in words:
                    os.kill(int(entry.name), signal.SIGKILL)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            try:
                knocking.settimeout(5)
                knocking.connect(str(self._socket))
                knocking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b"200" in knocking.recv(64)
            except OSError:
                return False

    def _stands_still(self) -> bool:
        assert self._process is not None, "not started"
        states = []
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(OSError):  # it has ended meanwhile
                states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
        return set(states) == {"T"}

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None, "not started"
        self._process.wait(timeout=START_SECONDS)
