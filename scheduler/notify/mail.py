"""Mail about ended runs: who receives it, what it contains, and how it is sent to the mail server.

The output of runs is treated as hostile: it appears only in the plain text, with control characters escaped, and
never in a header.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final, Literal

from scheduler.domain.hook import Delivery, HookEvent
from scheduler.notify.outcome import DeliveryOutcome, failure
from scheduler.notify.recipients import is_address

#: Maximum duration of sending one message, in seconds.
TIME_LIMIT: Final = 60.0
LONGEST_LINE: Final = 1_000
LONGEST_TEXT: Final = 64 * 1024
LONGEST_SUBJECT: Final = 200
_WORDS: Final = {
    HookEvent.SUCCEED.value: "succeeded",
    HookEvent.FAIL.value: "failed",
    HookEvent.CANCEL.value: "was cancelled",
}
#: Characters that affect how a text is displayed: controls, formats such as right-to-left overrides, separators.
_ACTIVE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The mail server and the mail settings.

    Attributes:
        security: ``starttls``, ``tls`` from the first byte on, or ``none``.
        ca_file: the authority that signed the server's certificate; None for the system's authorities.
        sender: the sender's address.
        events: events that mail is written about.
        log_lines: number of lines from the end of the log that a mail includes.
    """

    host: str
    port: int | None
    security: Literal["starttls", "tls", "none"]
    username: str | None
    password: str | None = field(repr=False)
    ca_file: Path | None
    sender: str
    events: frozenset[str]
    log_lines: int


def harmless(text: str, *, longest: int = LONGEST_LINE) -> str:
    """A line with characters that could affect the display escaped, shortened if it is too long."""
    cut = text[:longest]
    shown = "".join(
        character
        if character == ("\t") or unicodedata.category(character) not in _ACTIVE
        else f"\\u{ord(character):04x}"
        for character in cut
    )
    return shown + ("…" if len(text) > longest else "")


def compose(delivery: Delivery, tail: Sequence[str], *, to: str, sender: str) -> EmailMessage:
    """The message about one run.

    Args:
        delivery: the delivery with its event and body.
        tail: the last lines of the run's log, oldest first.
        to: the recipient's address.
        sender: the sender's address.
    """
    body = json.loads(delivery.body or "{}")
    job, run = body["job"], body["exec"]
    word = _WORDS.get(delivery.event, delivery.event)
    message = EmailMessage(policy=SMTP_POLICY)
    subject = f"[{job['namespace']}] {job['name']} {word}"
    message["Subject"] = " ".join(harmless(subject, longest=LONGEST_SUBJECT).split())
    message["From"] = Address("Timeball", addr_spec=sender)
    message["To"] = Address(addr_spec=to)
    message["Date"] = format_datetime(delivery.event_at)
    message["Message-ID"] = f"<{delivery.id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Timeball-Event"] = delivery.event
    message.set_content(_text(job, run, word, tail))
    return message


def _text(job: Any, run: Any, word: str, tail: Sequence[str]) -> str:
    path = f"/v1/jobs/{job['id']}/execs/{run['id']}"
    facts = {
        "Job": f"{job['name']} (id {job['id']}, namespace {job['namespace']})",
        "Run": run["id"],
        "Attempt": run["attempt"],
        "Due": run["scheduled_for"],
        "Started": run["started_at"],
        "Ended": run["ended_at"],
        "Exit code": run["exit_code"],
        "Reason": run["fail_reason"],
        "Error": run["error"],
        "Region": run["region_name"],
        "Image": f"{run['docker_image_repo']}:{run['docker_image_tag']}",
        "API": path,
    }
    lines = [f"The job {harmless(job['name'])} {word}.", ""]
    lines += [f"{name + ':':<11}{harmless(str(value))}" for name, value in facts.items() if value is not None]
    shown = [harmless(line) for line in tail]
    while shown and sum(len(line.encode()) + 1 for line in shown) > LONGEST_TEXT:
        shown.pop(0)
    if shown:
        title = "Last line of the log" if len(shown) == 1 else f"Last {len(shown)} lines of the log"
        lines += ["", f"{title}:", ""] + [f"  {line}" for line in shown]
    else:
        lines += ["", "The log is empty."]
    return "\n".join(lines) + "\n"


class Mailer:
    """Writes mail and sends it to the mail server.

    Args:
        server: the mail server; None if none is configured, in which case every message fails with that reason.
        tail: returns the last lines of a run's log, oldest first, by its id and the number of lines.
        address_of: returns a user's mail address; None if it is not known.
        local_hostname: this machine's name, as announced to the server.
    """

    def __init__(
        self,
        server: MailServer | None,
        *,
        tail: Callable[[str, int], Awaitable[list[str]]],
        address_of: Callable[[str], Awaitable[str | None]],
        local_hostname: str,
    ) -> None:
        self._server = server
        self._tail = tail
        self._address_of = address_of
        self._local_hostname = local_hostname
        if server is not None:
            import aiosmtplib  # noqa: F401, PLC0415 - loaded only if mail is used, and now, because it takes a while

    def wants(self, event: str) -> bool:
        """Whether mail is written about such an event; always without a server, so that the failure is visible."""
        return self._server is None or event in self._server.events

    async def send(self, delivery: Delivery) -> DeliveryOutcome:
        """Send a message once; raises only when cancelled or when the database is unavailable."""
        server = self._server
        if server is None:
            return failure("no mail server is configured; ask the operator to set mail.host", is_final=True)
        body = json.loads(delivery.body or "{}")
        owner = body["job"]["created_by"]
        to = await self._address_of(owner)
        if to is None or not is_address(to):
            return failure(
                f"the user {owner} has no email address; set the user's email, "
                "or mail.addresses or mail.default_to in the settings",
                is_final=True,
            )
        tail = await self._tail(body["exec"]["id"], server.log_lines)
        return await self._hand_over(server, compose(delivery, tail, to=to, sender=server.sender), to)

    async def _hand_over(self, server: MailServer, message: EmailMessage, to: str) -> DeliveryOutcome:
        import aiosmtplib  # noqa: PLC0415 - as above

        try:
            async with asyncio.timeout(TIME_LIMIT):
                await self._speak(server, message, to)
        except TimeoutError:
            return failure(f"{server.host} did not accept the message within {TIME_LIMIT:g} s")
        except aiosmtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[0].code, error.recipients[0].message
            return failure(
                f"{server.host} refused the recipient {to}: {code} {text}",
                status_code=code,
                is_final=code >= 500,
            )
        except aiosmtplib.SMTPResponseException as error:
            return failure(f"{server.host} answered {error.code} {error.message}", status_code=error.code)
        except (aiosmtplib.SMTPException, OSError, ValueError, MessageError) as error:
            return failure(f"{server.host}: {type(error).__name__}: {error}")
        return DeliveryOutcome(delivered=True, status_code=250)

    async def _speak(self, server: MailServer, message: EmailMessage, to: str) -> None:
        import aiosmtplib  # noqa: PLC0415 - as above

        context = None
        if (
            server.security != "none"
        ):  # loads all authorities that the system trusts, so not on the event loop
            context = await asyncio.to_thread(ssl.create_default_context, cafile=server.ca_file)
        await aiosmtplib.send(
            message,
            sender=server.sender,
            recipients=[to],
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            local_hostname=self._local_hostname,
            timeout=TIME_LIMIT / 2,
            use_tls=server.security == "tls",
            start_tls=server.security == "starttls",
            tls_context=context,
        )
