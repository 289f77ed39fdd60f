"""Mail through a real server: encryption, log-in, refusals, hostile names and logs."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from scheduler.domain.hook import Delivery, DeliveryKind, DeliveryStatus
from scheduler.notify.mail import Mailer, MailServer, compose

# The server warns that it takes passwords without STARTTLS: TLS from the first byte it does not count.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

EXEC = {
    "id": "0b0b",
    "attempt": 2,
    "scheduled_for": None,
    "started_at": "2026-03-01T12:00:00.000000+00:00",
    "ended_at": "2026-03-01T12:00:01.000000+00:00",
    "exit_code": 3,
    "fail_reason": "exit_code",
    "error": "The command ended with status 3.",
    "region_name": "LOCAL",
    "docker_image_repo": "busybox",
    "docker_image_tag": "1",
}


def delivery(name: str = "每日备份", event: str = "job:fail") -> Delivery:
    """A message about a run of a job of that name."""
    job = {"id": 7, "name": name, "namespace": "team", "created_by": "ada"}
    return Delivery(
        number=1,
        id="msg_1",
        kind=DeliveryKind.MAIL,
        hook_id=None,
        job_id=7,
        event=event,
        event_at=datetime(2026, 3, 1, 12, 0, 1, tzinfo=UTC),
        body=json.dumps({"job": job, "exec": EXEC}),
        status=DeliveryStatus.PENDING,
    )


def text_of(message: EmailMessage) -> str:
    """The plain text, as a reader shows it."""
    return str(message.get_content())


class Inbox:
    """Takes mail, and refuses what it is told to."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.answer = ""

    async def handle_RCPT(  # noqa: N802 - the server looks for this name
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        """Take a recipient, or refuse it."""
        if self.answer:
            return self.answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a message."""
        content = envelope.content
        assert isinstance(content, bytes)
        parsed = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        self.messages.append(parsed)
        self.envelopes.append(envelope)
        self.sessions.append(session)
        return "250 taken"


def knows(_server: Any, _session: Any, _envelope: Any, mechanism: str, data: Any) -> AuthResult:
    """Let in who gives the right password."""
    good = mechanism in {"LOGIN", "PLAIN"} and (data.login, data.password) == (b"ball", b"pass word")
    return AuthResult(success=good, handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for localhost that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(file)),
        ],
        check=True,
        capture_output=True,
    )
    return key, file


@pytest.fixture
async def inbox() -> Inbox:
    """An inbox."""
    return Inbox()


@pytest.fixture
async def server(
    request: pytest.FixtureRequest, inbox: Inbox, certificate: tuple[Path, Path]
) -> AsyncIterator[MailServer]:
    """A mail server with the security that the test asks for, and how to speak to it."""
    security = getattr(request, "param", "none")
    key, file = certificate
    more: dict[str, Any] = {}
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key)
    if security != "none":
        more = {"authenticator": knows, "auth_required": True, "auth_require_tls": security != "tls"}
    if security == "starttls":
        more |= {"tls_context": context, "require_starttls": True}
    listening = await asyncio.get_running_loop().create_server(
        lambda: SMTP(inbox, hostname="localhost", **more),
        "127.0.0.1",
        0,
        ssl=context if security == "tls" else None,
    )
    yield MailServer(
        host="localhost",
        port=listening.sockets[0].getsockname()[1],
        security=security,
        username=None if security == "none" else "ball",
        password=None if security == "none" else "pass word",
        ca_file=file,
        sender="timeball@example.com",
        events=frozenset({"job:fail"}),
        log_lines=50,
    )
    listening.close()
    await listening.wait_closed()


def mailer(
    server: MailServer | None, lines: list[str] | None = None, to: str | None = "ada@example.com"
) -> Mailer:
    """A mailer whose logs hold these lines, and which knows one address."""

    async def tail(_: str, count: int) -> list[str]:
        return (lines or [])[-count:]

    async def address_of(_: str) -> str | None:
        return to

    return Mailer(server, tail=tail, address_of=address_of, local_hostname="localhost")


@pytest.mark.parametrize("server", ["none", "starttls", "tls"], indirect=True)
async def test_mail_reaches_the_owner_with_the_end_of_the_log(server: MailServer, inbox: Inbox):
    """In clear, by STARTTLS and by TLS from the first byte, with a log-in where one is asked for."""
    outcome = await mailer(server, ["one", "grüße 你好"]).send(delivery())
    assert outcome.delivered, outcome
    (message,) = inbox.messages
    assert message["Subject"] == "[team] 每日备份 failed"
    assert message["To"] == "ada@example.com"
    assert message["From"] == "Timeball <timeball@example.com>"
    assert message["Message-ID"] == "<msg_1@example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert inbox.envelopes[0].rcpt_tos == ["ada@example.com"]
    text = text_of(message)
    for part in ("每日备份", "0b0b", "exit_code", "Last 2 lines of the log:", "  one", "  grüße 你好"):
        assert part in text
    assert (inbox.sessions[0].ssl is not None) is (server.security == "starttls")


@pytest.mark.parametrize("server", ["starttls", "tls"], indirect=True)
async def test_a_server_whose_certificate_nobody_vouches_for_gets_no_password(
    server: MailServer, inbox: Inbox
):
    """The message waits for a server that can be trusted."""
    outcome = await mailer(replace(server, ca_file=None)).send(delivery())
    assert not outcome.delivered
    assert not outcome.is_final
    assert "certificate" in (outcome.error or "").lower()
    wrong = await mailer(replace(server, password="other")).send(delivery())
    assert not wrong.delivered
    assert wrong.status_code == 535
    assert "other" not in (wrong.error or "")
    assert not inbox.messages


async def test_a_server_that_is_down_or_busy_is_asked_again(server: MailServer, inbox: Inbox):
    """A refusal for good is final."""
    inbox.answer = "451 busy"
    busy = await mailer(server).send(delivery())
    assert (busy.delivered, busy.is_final, busy.status_code) == (False, False, 451)
    inbox.answer = "550 nobody here"
    nobody = await mailer(server).send(delivery())
    assert (nobody.delivered, nobody.is_final, nobody.status_code) == (False, True, 550)
    down = await mailer(replace(server, port=1)).send(delivery())
    assert (down.delivered, down.is_final) == (False, False)


async def test_without_a_server_or_an_address_the_failure_says_what_to_do(server: MailServer):
    """Nothing is tried again that nobody mends by waiting."""
    none = await mailer(None).send(delivery())
    assert none.is_final
    assert "mail.host" in (none.error or "")
    unknown = await mailer(server, to=None).send(delivery())
    assert unknown.is_final
    assert "ada" in (unknown.error or "")
    assert "mail.addresses" in (unknown.error or "")
    assert mailer(server).wants("job:fail")
    assert not mailer(server).wants("job:succeed")


def test_a_name_cannot_add_headers_nor_a_log_act_on_its_reader() -> None:
    """Line breaks, escapes and reversed writing are spelt out; lines and text have an end."""
    evil = "x\r\nBcc: eve@example.com\r\n\r\nhello \u202eabc"
    lines = ["\x1b[2J\x1b]0;title\x07gone", "a\rb", "." * 5_000, "From me", "."] + ["y" * 900] * 200
    message = compose(delivery(evil), lines, to="ada@example.com", sender="timeball@example.com")
    parsed = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert parsed["Bcc"] is None
    assert "\n" not in parsed["Subject"]
    assert parsed["Subject"].startswith("[team] x\\u000d\\u000aBcc: eve@example.com")
    assert isinstance(parsed, EmailMessage)
    text = text_of(parsed)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text.encode()) < 80_000
    few = compose(delivery(), lines[:5], to="ada@example.com", sender="timeball@example.com")
    shown = text_of(email.message_from_bytes(few.as_bytes(), policy=email.policy.default))  # type: ignore[arg-type]  # the policy makes EmailMessages
    assert "\\u001b[2J\\u001b]0;title\\u0007gone" in shown
    assert "a\\u000db" in shown
    assert "." * 1_000 + "…" in shown
