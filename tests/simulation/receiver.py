"""The receiver of all webhooks, and the way to it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from scheduler.notify.outcome import DeliveryOutcome, failure
from tests.simulation.checks import Witness


class Receiver:
    """Takes messages, as far as it works.

    Attributes:
        fails: how it fails now: ``500``, ``hangs``, ``answer lost``; None if it works.
    """

    def __init__(self, source: random.Random, witness: Witness, note: Callable[[str], None]) -> None:
        self.fails: str | None = None
        self._source = source
        self._witness = witness
        self._note = note

    async def receive(self, message: str) -> DeliveryOutcome:
        """A message arrives."""
        await asyncio.sleep(self._source.random() * 0.05)
        match self.fails:
            case "500":
                return failure("500", status_code=500)
            case "hangs":
                await asyncio.sleep(10)
                return failure("no answer within 10 s")
        self._witness.received[message] += 1
        self._note(f"message {message}")
        if self.fails == "answer lost":
            return failure("the connection was reset")
        return DeliveryOutcome(delivered=True, status_code=204)


class SimulatedPoster:
    """Sends deliveries to the receiver, whatever their address."""

    def __init__(self, receiver: Receiver, policy: Any) -> None:
        self.policy = policy
        self._receiver = receiver

    def close(self) -> None:
        """Nothing is open."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryOutcome:  # noqa: ARG002
        """Deliver one message."""
        named = {name.lower(): value for name, value in headers.items()}
        return await self._receiver.receive(named["webhook-id"])
