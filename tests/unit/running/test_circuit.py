"""The circuit before an engine, and what it does to calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from scheduler.domain.secret_files import SecretFile
from scheduler.engine.errors import (
    EngineTimeoutError,
    EngineTroubledError,
    EngineUnavailableError,
    EngineUnreachableError,
)
from scheduler.engine.types import Handle, RunStatus
from scheduler.process.metrics import REGISTRY
from scheduler.running.circuit import Circuit, CircuitState
from scheduler.running.guarding import START_GRACE, GuardedEngine
from tests.lab.fake_engine import FakeEngine
from tests.lab.loop_time import LoopTime


def _closed() -> Circuit:
    circuit = Circuit(first_pause=1.0, longest_pause=5.0, failures=3)
    circuit.probe()
    circuit.close()
    return circuit


def test_nothing_goes_through_before_the_first_probe_is_answered() -> None:
    """It is due at once."""
    circuit = Circuit(first_pause=1.0, longest_pause=5.0)
    assert not circuit.lets_through
    assert circuit.seconds_to_probe(100.0) == 0
    circuit.probe()
    assert (circuit.state, circuit.lets_through) == (CircuitState.HALF_OPEN, False)
    circuit.close()
    assert (circuit.lets_through, circuit.reason) == (True, None)


def test_some_calls_without_an_answer_one_after_the_other_open_it() -> None:
    """An answer in between begins the count anew."""
    circuit = _closed()
    for _ in range(5):
        assert not circuit.failed(10.0, "late")
        assert not circuit.failed(10.0, "late")
        circuit.answered()
    assert [circuit.failed(20.0, "no answer") for _ in range(3)] == [False, False, True]
    assert (circuit.state, circuit.reason) == (CircuitState.OPEN, "no answer")


def test_calls_that_fail_when_it_is_open_already_change_nothing() -> None:
    """They were begun before; neither the reason nor the pause is theirs."""
    circuit = _closed()
    circuit.open(10.0, "first")
    assert not circuit.failed(10.5, "second")
    circuit.answered()
    assert (circuit.reason, circuit.seconds_to_probe(10.5)) == ("first", 0.5)


def test_the_pause_grows_with_every_probe_that_fails_up_to_the_longest() -> None:
    """And begins anew once an ordinary call is answered."""
    circuit = _closed()
    pauses = []
    for _ in range(5):
        circuit.open(0.0, "down")
        pauses.append(circuit.seconds_to_probe(0.0))
        circuit.probe()
    assert pauses == [1, 2, 4, 5, 5]
    circuit.close()
    circuit.answered()
    circuit.open(0.0, "down")
    assert circuit.seconds_to_probe(0.0) == 1


def test_an_engine_that_answers_probes_and_nothing_else_is_asked_ever_more_rarely() -> None:
    """Closing alone does not shorten the pause."""
    circuit = _closed()
    pauses = []
    for _ in range(4):
        for _ in range(3):
            circuit.failed(0.0, "no answer")
        pauses.append(circuit.seconds_to_probe(0.0))
        circuit.probe()
        circuit.close()
    assert pauses == [1, 2, 4, 5]


HANDLE = Handle(engine_id="x", name="x")


def _count(region: str, call: str, outcome: str) -> float:
    labels = {"region": region, "call": call, "outcome": outcome}
    return REGISTRY.get_sample_value("timeball_engine_calls_total", labels) or 0.0


async def test_every_call_is_counted_by_what_became_of_it() -> None:
    """Answers, refusals, troubles, silence."""
    engine, circuit = FakeEngine(), _closed()
    guarded = GuardedEngine(engine, "counted", circuit)
    await guarded.inspect(HANDLE)
    engine.failures = {
        "inspect": [EngineTimeoutError("late"), EngineTroubledError("busy"), EngineUnavailableError("gone")]
    }
    for _ in range(3):
        with pytest.raises(EngineUnavailableError):
            await guarded.inspect(HANDLE)
    for outcome in ("ok", "timeout", "troubled", "unreachable"):
        assert _count("counted", "inspect", outcome) == 1
    assert circuit.lets_through


async def test_an_open_circuit_answers_at_once_in_the_engines_place() -> None:
    """The engine is not asked, and the error says why."""
    engine, circuit = FakeEngine(), _closed()
    opened = asyncio.Event()
    guarded = GuardedEngine(engine, "open", circuit, opened.set)
    engine.failures = {"inspect": [EngineTimeoutError("no answer within 60 s")] * 3}
    for _ in range(3):
        with pytest.raises(EngineTimeoutError):
            await guarded.inspect(HANDLE)
    assert opened.is_set()
    asked = len(engine.calls)
    with pytest.raises(EngineUnavailableError, match="region open is considered down: no answer within 60 s"):
        await guarded.inspect(HANDLE)
    assert len(engine.calls) == asked
    assert _count("open", "inspect", "circuit_open") == 1
    await GuardedEngine(engine, "open", circuit, probing=True).ping()


async def test_an_engine_that_answers_that_it_cannot_is_no_engine_that_is_silent() -> None:
    """One container that cannot be inspected must not take the region down."""
    engine, circuit = FakeEngine(), _closed()
    guarded = GuardedEngine(engine, "troubled", circuit)
    engine.failures = {"inspect": [EngineTroubledError("layer does not exist")] * 10}
    for _ in range(10):
        with pytest.raises(EngineTroubledError):
            await guarded.inspect(HANDLE)
    assert circuit.lets_through


async def test_calls_that_wait_when_it_opens_are_given_up() -> None:
    """Nobody waits for an engine that is known to hang."""

    class Hanging(FakeEngine):
        async def inspect(self, _handle: Handle) -> RunStatus:
            await asyncio.Event().wait()
            raise AssertionError

    circuit = _closed()
    guarded = GuardedEngine(Hanging(), "hanging", circuit)
    waiting = [asyncio.create_task(guarded.inspect(HANDLE)) for _ in range(3)]
    await asyncio.sleep(0)
    circuit.open(0.0, "it hangs")
    guarded.give_up()
    guarded.give_up()
    for task in waiting:
        with pytest.raises(EngineUnavailableError, match="it hangs"):
            await task


class _HangingStart(FakeEngine):
    """Its start is asked for at once, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = asyncio.Event()

    async def start(
        self,
        handle: Handle,
        files: Sequence[SecretFile] = (),
        *,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Wait, and do not reach it."""
        del handle, files, before
        await self.refused.wait()
        raise EngineUnreachableError("connection refused")


async def test_a_start_that_waits_when_it_opens_can_still_say_that_it_did_not_reach_the_engine() -> None:
    """If it was given up at once, nobody would know whether the process ran."""
    engine, circuit = _HangingStart(), _closed()
    guarded = GuardedEngine(engine, "refusing", circuit)
    starting = asyncio.create_task(guarded.start(HANDLE))
    await asyncio.sleep(0)
    circuit.open(0.0, "its events broke off")
    guarded.give_up()
    await asyncio.sleep(0)
    engine.refused.set()
    with pytest.raises(EngineUnreachableError, match="connection refused"):
        await starting


async def test_a_start_that_goes_on_waiting_is_given_up(loop_time: LoopTime) -> None:
    """A little later than other calls."""
    circuit = _closed()
    guarded = GuardedEngine(_HangingStart(), "hanging", circuit)
    starting = asyncio.create_task(guarded.start(HANDLE))
    await asyncio.sleep(0)
    circuit.open(0.0, "it hangs")
    guarded.give_up()
    loop_time.let_pass(START_GRACE)
    with pytest.raises(EngineUnavailableError, match="it hangs") as raised:
        await starting
    assert not isinstance(raised.value, EngineUnreachableError)
