"""An engine behind ssh, with a real sshd on the loopback."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.domain.errors import SettingsError
from scheduler.domain.stream import Stream
from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import EngineTimeLimits
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.types import RunState
from tests.lab.engine_scene import EXITS_3, NEVER_STOPS, Scene, text_of
from tests.lab.ports import free_port

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of this machine behind ssh, and the client's configuration for it."""
    if SSHD is None:
        pytest.skip("no sshd; install openssh-server")
    for name in ("host", "client"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    (tmp_path / "client.pub").rename(tmp_path / "authorized")
    port = free_port()
    (tmp_path / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    host_key = (tmp_path / "host.pub").read_text()
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host *\n  IdentityFile {tmp_path}/client\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {tmp_path}/known_hosts\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where it separates its privileges; made by its service otherwise
    with (tmp_path / "sshd.log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(tmp_path / "sshd_config")], stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "sshd.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}", config
    finally:
        process.terminate()
        process.wait()


@pytest.mark.promise("far")
@pytest.mark.engine
async def test_an_engine_behind_ssh_is_like_a_local_one(
    sshd: tuple[str, Path], engine_url: str, busybox_image: str, installation: str
) -> None:
    """Runs come through whole; when ssh dies, the next call connects again and the container has gone on."""
    url, config = sshd
    socket_path = engine_url.removeprefix("unix://")
    assert socket_path.startswith("/"), "this needs an engine with a socket"
    engine = DockerEngine(f"{url}{socket_path}", installation=installation, ssh_config=config)
    scene = Scene(engine, busybox_image)
    frames, status, handle = await scene.run(scene.spec(EXITS_3))
    assert text_of(frames, Stream.STDOUT) == b"out\n"
    assert text_of(frames, Stream.STDERR) == b"err\n"
    assert status.exit_code == 3
    await engine.remove(handle)
    async with scene.started(NEVER_STOPS) as (handle, stream):
        assert await anext(stream)
        events = await engine.events()
        tunnel = engine._api._tunnel
        assert tunnel is not None
        assert tunnel._process is not None
        tunnel._process.kill()
        with pytest.raises(EngineUnavailableError):
            await anext(events)
        await tunnel._process.wait()
        assert (await engine.inspect(handle)).state is RunState.RUNNING
    await engine.close()
    assert tunnel._process is None


async def test_a_refused_login_says_so(sshd: tuple[str, Path]) -> None:
    """With ssh's own words."""
    url, config = sshd
    config.write_text(config.read_text().replace("client\n", "host\n"))
    engine = DockerEngine(url, installation="x", ssh_config=config)
    with pytest.raises(EngineUnavailableError, match="Permission denied"):
        await engine.ping()
    await engine.close()


async def test_a_host_that_has_no_engine_says_so(sshd: tuple[str, Path]) -> None:
    """The tunnel stands, but nobody listens at its far end."""
    url, config = sshd
    engine = DockerEngine(f"{url}/no/such/docker.sock", installation="x", ssh_config=config)
    with pytest.raises(EngineUnavailableError):
        await engine.ping()
    with pytest.raises(EngineUnavailableError, match=r"ssh: .*open failed"):
        await engine.ping()
    await engine.close()


async def test_a_host_that_is_not_there_says_so() -> None:
    """Nobody listens at the port."""
    engine = DockerEngine("ssh://127.0.0.1:9", installation="x", limits=EngineTimeLimits(connect=60))
    with pytest.raises(EngineUnavailableError, match="refused"):
        await engine.ping()
    await engine.close()


@pytest.mark.parametrize(
    "url", ["ssh://", "ssh://-oProxyCommand=x", "ssh://user:secret@host", "ssh://host:port", "ssh://host?x=1"]
)
def test_an_address_that_is_no_ssh_address_is_a_wrong_setting(url: str) -> None:
    """Passwords and options have no place in it."""
    with pytest.raises(SettingsError):
        DockerEngine(url, installation="x")
