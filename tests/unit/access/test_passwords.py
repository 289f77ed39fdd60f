"""Passwords: what is stored of them, and how they are checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from scheduler.access import passwords as module
from scheduler.access.passwords import Passwords
from scheduler.domain.errors import TooManyError


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Hashes that cost little."""
    found = Passwords(1, 8)
    yield found
    found.close()


async def test_a_password_is_stored_as_an_argon2id_hash_that_fits_it_alone(passwords: Passwords):
    """A PHC string with its parameters; two hashes of one password differ."""
    one, other = await passwords.hashed("correct horse"), await passwords.hashed("correct horse")
    assert one.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert one != other
    assert await passwords.check("correct horse", one) == (True, None)
    assert await passwords.check("Correct horse", one) == (False, None)


@pytest.mark.parametrize("stored", [None, "", "no hash", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
async def test_without_a_hash_no_password_is_right(passwords: Passwords, stored: str | None):
    """Also where what is stored is no hash."""
    assert await passwords.check("", stored) == (False, None)


async def test_whether_there_is_a_user_takes_the_same_work_to_find_out(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
):
    """One comparison with a hash of the same parameters, with and without a user."""
    stored = await passwords.hashed("correct horse")
    compared: list[str] = []
    verify = PasswordHasher.verify

    def note(self: PasswordHasher, one: str, password: str) -> bool:
        compared.append(one.rpartition("$")[0].rpartition("$")[0])
        return verify(self, one, password)

    monkeypatch.setattr(PasswordHasher, "verify", note)
    for known in (stored, None):
        assert await passwords.check("wrong", known) == (False, None)
    assert compared == ["$argon2id$v=19$m=8,t=1,p=1"] * 2


async def test_a_hash_of_other_parameters_is_made_anew(passwords: Passwords):
    """The new one has today's, and fits the same password."""
    old = await passwords.hashed("correct horse")
    today = Passwords(2, 16)
    matches, new = await today.check("correct horse", old)
    assert matches
    assert new is not None
    assert new.startswith("$argon2id$v=19$m=16,t=2,p=1$")
    assert await today.check("correct horse", new) == (True, None)
    assert await today.check("wrong", old) == (False, None)
    today.close()


async def test_a_bounded_number_waits_for_its_turn(passwords: Passwords, monkeypatch: pytest.MonkeyPatch):
    """More are told to come back."""
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    found = await asyncio.gather(*(passwords.hashed("x") for _ in range(5)), return_exceptions=True)
    assert [isinstance(one, TooManyError) for one in found] == [False] * 3 + [True] * 2
    assert await passwords.hashed("x")
