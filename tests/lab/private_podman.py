"""A Podman of the tests' own, which they may kill and restart; of the programs of ``deploy/test --engine podman``.

Killing ends the service alone. The keepers of containers (conmon) and their processes go on, and so do the mounts,
which belong to a process of their own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.private_engine import START_SECONDS, PrivateEngine

ROOT = Path(__file__).parents[2]
CLEAN = ("/usr/bin/env", "--chdir=/", "-i", "PATH=/usr/sbin:/usr/bin", "HOME=/root")


class PrivatePodman(PrivateEngine):
    """One ``podman system service``; stopped when made.

    Args:
        root: the folder that ``deploy/podman.sh`` has unpacked.
        disk_mib: see `PrivateEngine`.
    """

    def __init__(self, root: Path, *, disk_mib: int | None = None) -> None:
        super().__init__(disk_mib=disk_mib)
        (self._folder / "data").mkdir(exist_ok=True)
        command = ["nsenter", f"--net=/run/netns/{self._name}", "unshare", "--mount", "--uts"]
        command += [str(ROOT / "deploy/podman-root"), str(root), str(self._folder / "data")]
        self._keeper = subprocess.Popen([*command, str(self._folder), str(self._folder.parent)])
        self._inside = [
            "nsenter",
            f"--target={self._keeper.pid}",
            "--mount",
            "--net",
            "--uts",
            "--root",
            *CLEAN,
        ]
        deadline = time.monotonic() + START_SECONDS
        while Path(f"/proc/{self._keeper.pid}/comm").read_text().strip() != "sleep":
            assert time.monotonic() < deadline, "its mounts are not there"
            time.sleep(0.01)

    state_file = "status"

    @property
    def runtime_folder(self) -> Path:
        """Where crun has a folder for each container."""
        return Path(f"/proc/{self._keeper.pid}/root/run/crun")

    def start(self) -> None:
        """Start it, again too, and return when it answers."""
        self._socket.unlink(missing_ok=True)
        command = [*self._inside, "podman", "system", "service", "--time", "0", self.url]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Podman did not come up: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: it is gone at once; containers go on without it, and are its own again when it is back."""
        self._signal(signal.SIGKILL)
        self._wait()

    def forget_start(self, engine_id: str) -> None:
        """It has noted what it has started in a database of its own."""
        pytest.skip(f"what Podman has noted of {engine_id[:12]} cannot be changed while it is dead")

    def wipe(self) -> None:
        """It keeps what it has in a database and in memory, which cannot be taken from under it."""
        pytest.skip("Podman's data cannot be wiped while its containers run")

    def end_forgotten(self) -> None:
        """End what still runs without it: its keepers are in the same mount namespace as the service."""
        here = Path(f"/proc/{self._keeper.pid}/ns/mnt").stat().st_ino
        spared = {self._keeper.pid}
        if self._process is not None and self._process.poll() is None:
            spared.add(self._process.pid)
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if (entry / "ns/mnt").stat().st_ino == here and int(entry.name) not in spared:
                    os.kill(int(entry.name), signal.SIGKILL)

    def destroy(self) -> None:
        """Remove whatever it has made, its containers first."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
        subprocess.run(
            [*self._inside, "podman", "rm", "--all", "--force", "--time", "0"],
            check=False,
            capture_output=True,
        )
        if self._process is not None and self._process.poll() is None:
            self.stop()
        self.end_forgotten()
        self._keeper.kill()
        self._keeper.wait()
        self._unmount()
        shutil.rmtree(self._folder)
        subprocess.run(["ip", "netns", "delete", self._name], check=True)
