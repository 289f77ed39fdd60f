"""Mail about a run that ended: who gets it, what it says, and how it is handed to the mail server.

What runs print is hostile as far as mail is concerned: it goes into the plain text alone, with its control
characters spelt out, and never into a header.
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

#: Seconds that handing over one message may take in all.
TIME_LIMIT: Final = 60.0
LONGEST_LINE: Final = 1_000
LONGEST_TEXT: Final = 64 * 1024
LONGEST_SUBJECT: Final = 200
_WORDS: Final = {
    HookEvent.SUCCEED.value: "succeeded",
    HookEvent.FAIL.value: "failed",
    HookEvent.CANCEL.value: "was cancelled",
}
#: Characters that would do something to whoever shows them: controls, formats such as reversed writing, separators.
_ACTIVE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed over, and as whom.

    Attributes:
        security: ``starttls``, ``tls`` from the first byte on, or ``none``.
        ca_file: the authority that signed the server's certificate; None for the system's.
        sender: the address that mail comes from.
        events: about which events mail is written.
        log_lines: how many of the log's last lines it carries.
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
    """A line with what would act on a terminal or a reader's eyes spelt out, and cut where it is too long."""
    cut = text[:longest]
    shown = "".join(
        one if one == "\t" or unicodedata.category(one) not in _ACTIVE else f"\\u{ord(one):04x}"
        for one in cut
    )
    return shown + ("…" if len(text) > longest else "")


def compose(delivery: Delivery, tail: Sequence[str], *, to: str, sender: str) -> EmailMessage:
    """The message about one run.

    Args:
        delivery: with the event and its body.
        tail: the last lines of the run's log, oldest first.
        to: the recipient's address.
        sender: the sender's.
    """
    body = json.loads(delivery.body or "{}")
    job, one = body["job"], body["exec"]
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
    message.set_content(_text(job, one, word, tail))
    return message


def _text(job: Any, one: Any, word: str, tail: Sequence[str]) -> str:
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}"
    facts = {
        "Job": f"{job['name']} (id {job['id']}, namespace {job['namespace']})",
        "Run": one["id"],
        "Attempt": one["attempt"],
        "Due": one["scheduled_for"],
        "Started": one["started_at"],
        "Ended": one["ended_at"],
        "Exit code": one["exit_code"],
        "Reason": one["fail_reason"],
        "Error": one["error"],
        "Region": one["region_name"],
        "Image": f"{one['docker_image_repo']}:{one['docker_image_tag']}",
        "API": path,
    }
    lines = [f"The job {harmless(job['name'])} {word}.", ""]
    lines += [f"{name + ':':<11}{harmless(str(value))}" for name, value in facts.items() if value is not None]
    shown = [harmless(line) for line in tail]
    while shown and sum(len(line.encode()) + 1 for line in shown) > LONGEST_TEXT:
        shown.pop(0)
    if shown:
        title = "The last line of its log" if len(shown) == 1 else f"The last {len(shown)} lines of its log"
        lines += ["", f"{title}:", ""] + [f"  {line}" for line in shown]
    else:
        lines += ["", "Its log is empty."]
    return "\n".join(lines) + "\n"


class Mailer:
    """Writes mail and hands it over.

    Args:
        server: where; None if none is set up, and then every message fails and says so.
        tail: the last lines of an exec's log, oldest first; of the id and how many.
        address_of: the mail address of a user; None if nobody knows it.
        local_hostname: what this machine calls itself to the server.
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
            import aiosmtplib  # noqa: F401, PLC0415 - loaded now, for it takes a while, and only where mail is written

    def wants(self, event: str) -> bool:
        """Whether mail is written about such an event; without a server, so that the failure is seen."""
        return self._server is None or event in self._server.events

    async def send(self, delivery: Delivery) -> DeliveryOutcome:
        """Hand a message over once; never raises but for cancellation and an unavailable database."""
        server = self._server
        if server is None:
            return failure("no mail server is set up: the operator names one as mail.host", is_final=True)
        body = json.loads(delivery.body or "{}")
        owner = body["job"]["created_by"]
        to = await self._address_of(owner)
        if to is None or not is_address(to):
            return failure(
                f"the user {owner} has no mail address: give it one with PUT /v1/users/…, "
                "or in the settings as mail.addresses or mail.default_to",
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
            return failure(f"{server.host} did not take the message within {TIME_LIMIT:g} s")
        except aiosmtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[0].code, error.recipients[0].message
            return failure(
                f"{server.host} refused {to}: {code} {text}", status_code=code, is_final=code >= 500
            )
        except aiosmtplib.SMTPResponseException as error:
            return failure(f"{server.host} answered {error.code} {error.message}", status_code=error.code)
        except (aiosmtplib.SMTPException, OSError, ValueError, MessageError) as error:
            return failure(f"{server.host}: {type(error).__name__}: {error}")
        return DeliveryOutcome(delivered=True, status_code=250)

    async def _speak(self, server: MailServer, message: EmailMessage, to: str) -> None:
        import aiosmtplib  # noqa: PLC0415 - as above

        context = None
        if server.security != "none":  # reads every authority that the system trusts
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
