"""Hooks and mail as the operator sets them: by file, by variables, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduler.assembly.notifications import _address_of, mail_server
from scheduler.domain.account import StoredUser
from scheduler.domain.errors import SettingsError
from scheduler.notify.options import MailSettings
from scheduler.settings.settings import load_settings
from scheduler.store import accounts
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade


@pytest.fixture(autouse=True)
def _no_docker_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)


def test_hooks_and_mail_are_set_by_variables_as_well(monkeypatch: pytest.MonkeyPatch):
    """A list as JSON or with commas; user names keep their spelling."""
    for name, value in {
        "HOOKS__ALLOW": "10.0.0.0/8, hooks.example",
        "HOOKS__ALLOW_PRIVATE": "true",
        "MAIL__HOST": "smtp.example",
        "MAIL__FROM": "ball@example.com",
        "MAIL__ADDRESSES": '{"Ada": "ada@example.com"}',
    }.items():
        monkeypatch.setenv(f"TIMEBALL_{name}", value)
    settings = load_settings()
    assert settings.hooks.allow == ["10.0.0.0/8", "hooks.example"]
    assert settings.hooks.allow_private
    assert settings.mail.addresses == {"Ada": "ada@example.com"}
    server = mail_server(settings.mail)
    assert server is not None
    assert (server.host, server.sender, server.security) == ("smtp.example", "ball@example.com", "starttls")
    assert server.events == {"job:fail", "job:cancel"}
    monkeypatch.setenv("TIMEBALL_HOOKS__ALLOW", '["127.0.0.1"]')
    assert load_settings().hooks.allow == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HOOKS__ALLOW", "nonsense here", "hooks.allow"),
        ("HOOKS__ALOW", "1", "hooks.alow"),
        ("MAIL__FROM", "nobody", "mail.from"),
        ("MAIL__DEFAULT_TO", "a@b.example\nBcc: c@d.example", "mail.default_to"),
        ("MAIL__ADDRESSES", '{"eve": "x"}', "an invalid email address for eve"),
        ("MAIL__EVENTS", '["explode"]', "mail.events"),
        ("MAIL__SECURITY", "ssl3", "mail.security"),
    ],
)
def test_what_hooks_and_mail_cannot_be_set_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
):
    """By the setting's name."""
    monkeypatch.setenv(f"TIMEBALL_{variable}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert words in str(caught.value)


def test_the_password_comes_from_a_file_and_is_shown_nowhere(tmp_path: Path):
    """Its last line break is not part of it."""
    file = tmp_path / "password"
    file.write_text("tell nobody\n")
    mail = MailSettings(host="smtp.example", username="ball", password_file=file)
    server = mail_server(mail)
    assert server is not None
    assert server.password == "tell nobody"
    assert "tell nobody" not in repr(mail)
    assert "tell nobody" not in repr(server)
    assert mail_server(MailSettings()) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password_file": "/nowhere/at/all", "username": "u"}, "mail.password_file"),
        ({"password": "p", "password_file": "/nowhere", "username": "u"}, "are both set; remove one of them"),
        ({"username": "u"}, "belong together"),
        ({"password": "tell nobody"}, "belong together"),
        ({"ca_file": "/nowhere"}, "mail.ca_file"),
    ],
)
def test_settings_of_the_mail_server_that_contradict_each_other_are_refused(
    fields: dict[str, str], words: str
):
    """Without the password."""
    with pytest.raises(SettingsError, match=words) as caught:
        mail_server(MailSettings.model_validate({"host": "smtp.example", **fields}))
    assert "tell nobody" not in str(caught.value)


async def test_an_owner_is_written_to_where_the_operator_says_else_where_the_user_says(tmp_path: Path):
    """And all others at one address, or nowhere."""
    database = Database(f"sqlite:///{tmp_path / 'timeball.db'}")
    database.migrate(upgrade)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for name, email in {"ada": "ada@example.com", "bob": "bob@example.com", "eve": None}.items():
        user = StoredUser(
            username=name,
            password="x",
            namespace=None,
            role="viewer",
            email=email,
            is_active=True,
            created_by="admin",
            created_at=now,
            updated_at=now,
        )
        await database.write(lambda c, user=user: accounts.add_user(c, user))
    mail = MailSettings(addresses={"bob": "duty@example.com"}, default_to="all@example.com")
    found = [await _address_of(mail, database)(name) for name in ("ada", "bob", "eve", "nobody")]
    assert found == ["ada@example.com", "duty@example.com", "all@example.com", "all@example.com"]
    assert await _address_of(MailSettings(), database)("eve") is None
    await database.close()
