"""What libraries are loaded without is not missed, and no certificate is trusted that was not before."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scheduler.notify.addresses import AddressPolicy
from scheduler.notify.posting import Poster
from tests.lab.certificates import self_signed

PROGRAM = """
    import asyncio, ssl, sys
    from scheduler.process import light_imports

    usual = ssl.create_default_context, ssl.SSLContext.set_default_verify_paths
    light_imports.load()
    assert (ssl.create_default_context, ssl.SSLContext.set_default_verify_paths) == usual
    import aiohttp, requests, rich, charset_normalizer

    async def ask():
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(sys.argv[1]):
                    return "answered"
            except aiohttp.ClientConnectorCertificateError:
                return "distrusted"
            except (aiohttp.ClientError, OSError):
                return "trusted"

    print(asyncio.run(ask()))
"""


async def receiver(certificate: Path, key: Path) -> asyncio.Server:
    """A server that speaks TLS, and answers whatever it is asked with 204."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return await asyncio.start_server(answer, "localhost", 0, ssl=context)


@pytest.mark.parametrize("is_known", [True, False])
async def test_certificates_that_are_read_late_are_checked_all_the_same(
    tmp_path: Path, is_known: bool
) -> None:
    """A connection to a server whose authority the system knows succeeds, and to any other it does not."""
    certificate, key = self_signed(tmp_path, "localhost")
    server = await receiver(certificate, key)
    port = server.sockets[0].getsockname()[1]
    known = {"SSL_CERT_FILE": str(certificate)} if is_known else {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM), f"https://localhost:{port}/"),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **known},
    )
    said, _ = await process.communicate()
    server.close()
    assert said.decode().strip() == ("answered" if is_known else "distrusted")


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_hook_is_delivered_only_to_a_receiver_whose_certificate_is_good(
    tmp_path: Path, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the authorities that the system knows; the failure says what is wrong."""
    certificate, key = self_signed(tmp_path, "localhost")
    server = await receiver(certificate, key)
    port = server.sockets[0].getsockname()[1]
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    poster = Poster(AddressPolicy((), allow_private=True), user_agent="test")
    outcome = await poster.post(f"https://localhost:{port}/", {}, b"{}")
    poster.close()
    server.close()
    assert outcome.delivered is is_known, outcome
    assert is_known or "certificate" in str(outcome)
