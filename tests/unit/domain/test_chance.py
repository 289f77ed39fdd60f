"""Random numbers: what they look like, and that a simulation can repeat them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

import pytest

from scheduler.domain import chance


@pytest.fixture(autouse=True)
def the_source_is_put_back() -> Iterator[None]:
    """No test changes what others draw from."""
    before = chance.draw_from(random.SystemRandom())
    yield
    chance.draw_from(before)


def test_an_id_is_a_random_uuid():
    """As text and as hexadecimal digits."""
    for text in (chance.new_id(), chance.new_hex()):
        parsed = uuid.UUID(text)
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122
        assert text in (str(parsed), parsed.hex)
    assert len({chance.new_id() for _ in range(1_000)}) == 1_000


def test_numbers_stay_within_their_limits():
    """A fraction is less than one."""
    assert all(0 <= chance.fraction() < 1 for _ in range(1_000))
    assert all(0.9 <= chance.between(0.9, 1.1) <= 1.1 for _ in range(1_000))


def test_the_same_seed_gives_the_same_ids_and_numbers():
    """Everything is drawn from the source that was given."""

    def draw(seed: int) -> list[str | float]:
        chance.draw_from(random.Random(seed))  # noqa: S311 - that it can be repeated is the point
        return [chance.new_id(), chance.new_hex(), chance.fraction(), chance.between(1, 2)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)
