"""The API over TLS: its certificate, what is too old, and renewal without a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from api.server.tls import load_certificate, tls_context
from scheduler.domain.errors import SettingsError
from tests.lab.certificates import self_signed


@asynccontextmanager
async def daemon(
    folder: Path, *options: str, files: int | None = None, **more: str
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """A daemon with its URL; it needs no engine. It may have `files` open, or as many as we."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TIMEBALL_")}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(() if files is None else ("prlimit", f"--nofile={files}")),
            Path(sys.executable).with_name("timeball"),
            "serve", "--port", "0", "--data-dir", folder / "data", *options,
            stdout=subprocess.PIPE,
            stderr=log,
            env=plain | {"DOCKER_HOST": "unix:///nowhere"} | more,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        said = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert said.startswith("Timeball listens on "), (folder / "log").read_text()
        yield said.split()[-1], process
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)


async def common_name(url: str, **more: ssl.TLSVersion) -> str:
    """The certificate that is shown at a URL."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in more.items():
        setattr(context, name, value)
    port = int(url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return await asyncio.to_thread(subject_of, shown)


def subject_of(shown: bytes) -> str:
    """The name in a certificate."""
    words = ["openssl", "x509", "-inform", "der", "-noout", "-subject"]
    done = subprocess.run(words, input=shown, capture_output=True, check=True)
    return done.stdout.decode().rpartition("=")[2].strip()


async def test_the_api_speaks_tls_and_takes_a_renewed_certificate(tmp_path: Path):
    """HTTPS with HSTS; SIGHUP reads the files again; a renewal that failed leaves the old one in use."""
    cert, key = self_signed(tmp_path, "first")
    async with daemon(tmp_path, TIMEBALL_TLS_CERT=str(cert), TIMEBALL_TLS_KEY=str(key)) as (url, process):
        assert url.startswith("https://127.0.0.1:")
        assert await common_name(url) == "first"
        got = await asyncio.create_subprocess_exec("curl", "-sik", url + "/healthz", stdout=subprocess.PIPE)
        answer, _ = await got.communicate()
        assert b" 200" in answer.splitlines()[0]
        assert b"strict-transport-security: max-age=31536000" in answer.lower()
        cert.write_text("broken")
        process.send_signal(signal.SIGHUP)
        await _until(lambda: "certificate_not_renewed" in (tmp_path / "log").read_text())
        assert await common_name(url) == "first"
        for new, old in zip(self_signed(tmp_path, "second"), (cert, key), strict=True):
            new.replace(old)
        process.send_signal(signal.SIGHUP)
        await _until(lambda: "certificate_renewed" in (tmp_path / "log").read_text())
        assert await common_name(url) == "second"


async def _until(look: object) -> None:
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110 - another process has no event for it
            await asyncio.sleep(0.02)


def test_what_is_older_than_tls_1_2_is_not_spoken(tmp_path: Path):
    """Neither 1.0 nor 1.1 nor SSL."""
    assert tls_context(*self_signed(tmp_path, "a")).minimum_version is ssl.TLSVersion.TLSv1_2


def test_files_that_do_not_fit_are_refused_with_their_names(tmp_path: Path):
    """Missing, no certificate, another's key, and a key with a password."""
    cert, key = self_signed(tmp_path, "a")
    other = self_signed(tmp_path, "b")[1]
    locked = tmp_path / "locked.key"
    words = ["openssl", "ec", "-in", key, "-out", locked, "-aes128", "-passout", "pass:secret"]
    subprocess.run(words, check=True, capture_output=True)
    for wrong in ((tmp_path / "none", key), (key, key), (cert, other), (cert, locked)):
        with pytest.raises(SettingsError, match=r"tls_cert .* and tls_key .* cannot be used: "):
            tls_context(*wrong)
    context = tls_context(cert, key)
    with pytest.raises(SettingsError):
        load_certificate(context, cert, other)


@pytest.mark.parametrize(("host", "warns"), [("127.0.0.1", False), ("0.0.0.0", True)])  # noqa: S104
async def test_listening_for_others_without_tls_is_warned_of(tmp_path: Path, host: str, warns: bool):
    """Loudly, with what is at stake and what to do."""
    async with daemon(tmp_path, "--host", host):
        log = (tmp_path / "log").read_text()
    assert ("server.unencrypted" in log) is warns
    assert ("tls_cert" in log) is warns
