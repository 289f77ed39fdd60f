"""An engine over TCP with TLS, where each side proves who it is."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.domain.stream import Stream
from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import TlsFiles
from scheduler.engine.errors import EngineUnavailableError
from tests.lab.engine_scene import EXITS_3, Scene, text_of
from tests.lab.proxy import EngineProxy


def make_authority(folder: Path, name: str) -> None:
    """A certificate authority of the test's own."""
    _openssl(folder, "req", "-x509", *_key(name), "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")


def make_certificate(folder: Path, name: str, authority: str) -> None:
    """A certificate for the loopback, signed by the authority."""
    _openssl(folder, "req", *_key(name), "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / "names").write_text("subjectAltName = IP:127.0.0.1\n")
    signer = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial")
    _openssl(
        folder,
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        *signer,
        "-out",
        f"{name}.pem",
        "-days",
        "2",
        "-extfile",
        "names",
    )


def _key(name: str) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    return (*curve, "-nodes", "-keyout", f"{name}.key")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.promise("far")
@pytest.mark.engine
async def test_an_engine_over_tls_is_like_a_local_one_and_strangers_are_refused(
    tmp_path: Path, engine_url: str, busybox_image: str, installation: str
) -> None:
    """Calls and streams are both encrypted; a wrong authority or a missing certificate ends in an error."""
    for authority in ("ca", "stranger"):
        make_authority(tmp_path, authority)
    for name in ("server", "client"):
        make_certificate(tmp_path, name, "ca")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(str(tmp_path / "server.pem"), str(tmp_path / "server.key"))
    context.verify_mode = ssl.CERT_REQUIRED
    files = TlsFiles(ca=tmp_path / "ca.pem", certificate=tmp_path / "client.pem", key=tmp_path / "client.key")
    async with EngineProxy(engine_url.removeprefix("unix://"), tls=context) as proxy:
        engine = DockerEngine(proxy.url, installation=installation, tls=files)
        scene = Scene(engine, busybox_image)
        frames, status, handle = await scene.run(scene.spec(EXITS_3))
        assert text_of(frames, Stream.STDOUT) == b"out\n"
        assert status.exit_code == 3
        await engine.remove(handle)
        await engine.close()
        for tls in (None, replace(files, ca=tmp_path / "stranger.pem")):
            stranger = DockerEngine(proxy.url, installation=installation, tls=tls)
            with pytest.raises(EngineUnavailableError):
                await stranger.ping()
            await stranger.close()
