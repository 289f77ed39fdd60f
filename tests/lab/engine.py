"""Makes a real engine, an image and an image registry available to tests, or says what to install.

Nothing is pulled and nothing but Timeball's own test images and containers is touched.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker.errors
import pytest
from docker.api.client import APIClient

from scheduler.engine.types import LABEL_INSTALLATION
from tests.lab.ports import registry_port

DEFAULT_ENGINE_URL = "unix:///var/run/docker.sock"
BUSYBOX_IMAGE = "timeball-test/busybox:1"
REGISTRY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Registry:
    """A real image registry on a loopback port.

    Attributes:
        address: ``127.0.0.1:port``, the first part of its images' names.
        image: ``repo:tag`` of an image that it holds and the engine does not.
        missing_image: ``repo:tag`` of one that it does not hold.
    """

    address: str
    image: str
    missing_image: str


def find_engine_url() -> str:
    """The engine that tests use: that of ``DOCKER_HOST``, else the local one."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_ENGINE_URL


def why_no_engine() -> str | None:
    """What is missing for tests on a real engine, or None if one answers and has an image to run."""
    url = find_engine_url()
    if url.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
            try:
                knocking.connect(url.removeprefix("unix://"))
            except OSError as error:
                why = f"no engine at {url} ({error.strerror})"
                return f"{why}; install docker.io and start dockerd, or set DOCKER_HOST"
    try:
        with connect(url) as client:
            client.ping()
            if not has_image(client, BUSYBOX_IMAGE) and shutil.which("busybox") is None:
                return f"no image {BUSYBOX_IMAGE} and no busybox to make it from; install busybox-static"
    except (docker.errors.DockerException, OSError) as error:
        return f"the engine at {url} does not answer ({error})"
    return None


@dataclass(frozen=True, slots=True)
class EngineKind:
    """What tests ran on.

    Attributes:
        name: of the program, ``Docker`` for all that is not known to be another.
        version: its own, without what a distribution adds: ``26.1.5``.
        store: of images: ``containerd`` or the name of a storage driver, such as ``overlay2``.
        api: the newest API version that it answers.
        cgroup: the version of the kernel's control groups, ``1`` or ``2``.
    """

    name: str
    version: str
    store: str
    api: str
    cgroup: str

    @property
    def column(self) -> str:
        """What it is called in a table of engines."""
        short = ".".join(self.version.split(".")[:2])
        return f"{self.name} {short}" + (f", {self.store}" if self.name == "Docker" else "")

    def __str__(self) -> str:
        return f"{self.name} {self.version}, {self.store} store, API {self.api}, cgroup v{self.cgroup}"


def engine_kind(url: str) -> EngineKind:
    """What the engine there is."""
    with connect(url) as client:
        info, version = client.info(), client.version()
    status = [value for key, value in info.get("DriverStatus") or () if key == "driver-type"]
    names = [part.get("Name", "") for part in version.get("Components", ())]
    return EngineKind(
        name="Podman" if any("Podman" in name for name in names) else "Docker",
        version=version["Version"].partition("+")[0].partition("-")[0],
        store="containerd"
        if any("io.containerd.snapshotter" in value for value in status)
        else info["Driver"],
        api=version["ApiVersion"],
        cgroup=str(info.get("CgroupVersion") or "1").removeprefix("v"),
    )


def why_no_registry() -> str | None:
    """What is missing for tests with a real image registry."""
    if shutil.which("docker-registry") is None:
        return "no docker-registry on the path; install docker-registry"
    return None


def connect(url: str) -> APIClient:
    """A plain SDK client, for what tests do behind the engine's back."""
    return APIClient(url, version="auto", timeout=60)


@pytest.fixture(scope="session")
def engine_url() -> str:
    """The address of a real engine that answers."""
    if reason := why_no_engine():
        pytest.skip(reason)
    return find_engine_url()


@pytest.fixture(scope="session")
def engine_client(engine_url: str) -> Iterator[APIClient]:
    """An SDK client of the real engine, to look at it without Timeball."""
    with connect(engine_url) as client:
        yield client


@pytest.fixture(scope="session")
def busybox_image(engine_client: APIClient) -> str:
    """The name of an image on the engine that holds busybox and no command of its own."""
    # One process at a time: the containerd store answers 500 to the second of two imports of a name.
    with (Path(tempfile.gettempdir()) / "timeball-test-image.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_image(engine_client, BUSYBOX_IMAGE):
            repository, tag = BUSYBOX_IMAGE.split(":")
            engine_client.import_image_from_data(busybox_tar(), repository=repository, tag=tag)
    return BUSYBOX_IMAGE


@pytest.fixture(scope="session")
def installation() -> Iterator[str]:
    """An installation's id of this session alone; its containers are removed at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    if why_no_engine() is not None:
        return
    with connect(find_engine_url()) as client:
        remove_all(client, name)


def remove_all(client: APIClient, installation: str) -> None:
    """Remove the containers of one installation, and no others."""
    label = f"{LABEL_INSTALLATION}={installation}"
    for found in client.containers(all=True, filters={"label": label}):
        try:
            client.remove_container(found["Id"], v=True, force=True)
        except docker.errors.APIError as error:
            if error.status_code not in (404, 409):  # gone, or going
                raise


@pytest.fixture(scope="session")
def registry(
    engine_client: APIClient, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """A real registry that holds one image, which the engine does not have under that name."""
    if reason := why_no_registry():
        pytest.skip(reason)
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        repository = f"{address}/timeball-test/busybox"
        image = f"{repository}:1"
        engine_client.tag(busybox_image, repository, "1")
        for line in engine_client.push(repository, "1", stream=True, decode=True):
            assert "error" not in line, line
        engine_client.remove_image(image)
        yield Registry(address=address, image=image, missing_image=f"{repository}:missing")
        if has_image(engine_client, image):
            engine_client.remove_image(image, force=True)


@contextmanager
def running_registry(folder: Path, *, more: str = "") -> Iterator[str]:
    """The address of a real registry with nothing in it.

    Args:
        folder: where it keeps everything.
        more: a line of YAML to add to its configuration.
    """
    address = f"127.0.0.1:{registry_port()}"
    process = _start_registry(folder, address, more)
    try:
        _await_port(address, process, folder / "registry.log")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=REGISTRY_SECONDS)


def _start_registry(folder: Path, address: str, more: str) -> subprocess.Popen[bytes]:
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '{address}'}}\n"
        f"{more}\n"
    )
    with (folder / "registry.log").open("wb") as log:
        return subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)


def _await_port(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    host, port = address.split(":")
    deadline = time.monotonic() + REGISTRY_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"docker-registry did not come up on {address}: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        else:
            return


def has_image(client: APIClient, image: str) -> bool:
    """Whether an engine has an image, by name or id."""
    try:
        client.inspect_image(image)  # type: ignore[no-untyped-call] # stubs are vague
    except docker.errors.ImageNotFound:
        return False
    return True


def busybox_tar() -> bytes:
    """The files of an image with busybox, and a link for each of its applets."""
    path = shutil.which("busybox")
    assert path is not None
    applets = subprocess.run([path, "--list"], check=True, capture_output=True, text=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        entry = tarfile.TarInfo("bin/busybox")
        program = Path(path).read_bytes()
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
        for applet in applets:
            if applet == "busybox":
                continue
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()
