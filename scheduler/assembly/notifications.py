"""Puts together what tells people: the outbox, the way to hooks, the way to mailboxes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import version

from scheduler.domain.clock import Clock
from scheduler.domain.errors import SettingsError
from scheduler.logs.reader import LogQuery, LogReader
from scheduler.notify.addresses import AddressPolicy
from scheduler.notify.deliverer import Deliverer, Means
from scheduler.notify.mail import Mailer, MailServer
from scheduler.notify.options import MailSettings
from scheduler.notify.posting import Poster, Sender
from scheduler.notify.recipients import is_address
from scheduler.secrets.vault import Vault
from scheduler.settings.settings import Settings
from scheduler.store import accounts
from scheduler.store.database import Database
from scheduler.store.deliveries import StoredOutbox

PosterFactory = Callable[[AddressPolicy], Sender]


def http_poster(policy: AddressPolicy) -> Sender:
    """The sender of webhook deliveries over HTTP."""
    return Poster(policy, user_agent=f"Timeball/{version('timeball')}")


def make_deliverer(
    settings: Settings,
    database: Database,
    clock: Clock,
    logs: LogReader,
    vault: Vault,
    *,
    make_poster: PosterFactory = http_poster,
    instance: str,
    on_defect: Callable[[BaseException], None],
) -> Deliverer:
    """The deliverer that the settings describe; a commit that puts something into the outbox wakes it.

    Raises:
        SettingsError: the mail server's password or certificate file cannot be used.
    """
    hooks, mail = settings.hooks, settings.mail
    mailer = Mailer(
        mail_server(mail),
        tail=_tail_of(logs),
        address_of=_address_of(mail, database),
        local_hostname=socket.gethostname() or "localhost",
    )
    deliverer = Deliverer(
        StoredOutbox(database, instance),
        clock,
        Means(
            make_poster(AddressPolicy(hooks.allow, allow_private=hooks.allow_private)), mailer, vault.of_hook
        ),
        keep=timedelta(days=hooks.keep_days),
        on_defect=on_defect,
    )
    loop = asyncio.get_running_loop()

    def wake() -> None:
        with suppress(RuntimeError):  # the event loop has ended
            loop.call_soon_threadsafe(deliverer.wake)

    database.on_outbox = wake
    return deliverer


def mail_server(mail: MailSettings) -> MailServer | None:
    """The mail server that the settings name; None without one.

    Raises:
        SettingsError: they contradict each other, or the password's file cannot be read.
    """
    if mail.host is None:
        return None
    password = None if mail.password is None else mail.password.get_secret_value()
    if mail.password_file is not None:
        if password is not None:
            raise SettingsError("mail.password and mail.password_file are both set; remove one of them")
        try:
            password = mail.password_file.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"mail.password_file: {mail.password_file} cannot be read: {error}. "
                "Choose a file that the daemon can read"
            ) from error
    if (mail.username is None) != (password is None):
        raise SettingsError("mail.username and mail.password_file belong together: set both or neither")
    if mail.ca_file is not None and not mail.ca_file.is_file():
        raise SettingsError(
            f"mail.ca_file: {mail.ca_file} is not a file. Choose a file that contains the authority's certificate"
        )
    sender = mail.sender or f"timeball@{socket.gethostname()}"
    return MailServer(
        host=mail.host,
        port=mail.port,
        security=mail.security,
        username=mail.username,
        password=password,
        ca_file=mail.ca_file,
        sender=sender if is_address(sender) else "timeball@localhost",
        events=frozenset(f"job:{event}" for event in mail.events),
        log_lines=mail.log_lines,
    )


def _address_of(mail: MailSettings, database: Database) -> Callable[[str], Awaitable[str | None]]:
    """A user's address: as the operator says, else as the user says, else the one for all others."""

    async def address_of(user: str) -> str | None:
        if user in mail.addresses:
            return mail.addresses[user]
        stored = await database.read(lambda connection: accounts.get_user(connection, user))
        own = None if stored is None else stored.email
        return own if own is not None and is_address(own) else mail.default_to

    return address_of


def _tail_of(logs: LogReader) -> Callable[[str, int], Awaitable[list[str]]]:
    async def tail(exec_id: str, count: int) -> list[str]:
        if count == 0:
            return []
        lines = [
            line.message.decode("utf-8", "replace")
            async for batch in logs.read(exec_id, LogQuery(limit=count, order="desc"))
            for line in batch
        ]
        return lines[::-1]

    return tail
