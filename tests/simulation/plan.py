"""What happens in one simulated world: drawn from a seed, written as JSON, and made smaller part by part.

Only what is listed here is decided in advance: jobs, operations and faults with their moments. The order of events in
between is drawn while they happen, each kind from a source of its own, so that leaving out one part changes the rest
as little as possible.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from tests.simulation.host import Kind

#: Seconds in which faults happen, and afterwards at most until everything is at rest.
LENGTH: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the containers of a job do.

    Attributes:
        lines: how many lines they print, alternately on both streams.
        pause: seconds between two lines.
        last: seconds after the last line.
        exit_code: how they end.
        obeys: whether they end when they are asked to.
    """

    lines: int = 4
    pause: float = 0.5
    last: float = 0.5
    exit_code: int = 0
    obeys: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """One job.

    Attributes:
        step: seconds between two due times; None without a schedule.
        script: what its containers do.
        fields: further fields of its definition.
        has_hook: whether a webhook watches it.
        is_fixed: whether nobody changes or deletes it, so that all its due times are known.
    """

    step: float | None
    script: Script = field(default_factory=Script)
    fields: dict[str, Any] = field(default_factory=dict)
    has_hook: bool = False
    is_fixed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """An operation of a user, or a fault.

    Attributes:
        at: when it happens in seconds.
        kind: what happens; a method of `Faults` or of `Users`.
        options: how.
    """

    at: float
    kind: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One world.

    Attributes:
        seed: of the order of events.
        daemons: how many daemons share the database.
        behaviour: the kind of the engine.
        cpus: the engine's processors.
        skew: how far the clocks of the engine and of each daemon are off, in seconds.
        slow: the longest usual delay of the network in seconds.
        jobs: the jobs.
        happenings: operations and faults.
        length: seconds until the faults stop.
        settings: further settings of the daemons.
    """

    seed: int
    daemons: int = 1
    behaviour: Kind = Kind.REPLACES
    cpus: float = 4.0
    skew: tuple[float, ...] = ()
    slow: float = 0.02
    jobs: tuple[JobPlan, ...] = ()
    happenings: tuple[Happening, ...] = ()
    length: float = LENGTH
    settings: dict[str, Any] = field(default_factory=dict)

    def skew_of(self, index: int) -> float:
        """How far the clock of the engine (0) or of a daemon (from 1) is off."""
        return self.skew[index] if index < len(self.skew) else 0.0

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """From such a text."""
        fields = json.loads(text)
        fields["behaviour"] = Kind(fields["behaviour"])
        fields["skew"] = tuple(fields["skew"])
        fields["jobs"] = tuple(
            JobPlan(**{**job, "script": Script(**job["script"])}) for job in fields["jobs"]
        )
        fields["happenings"] = tuple(Happening(**one) for one in fields["happenings"])
        return cls(**fields)

    def smaller(self) -> Iterator[Plan]:
        """Plans that lack a part of this one: the largest parts first."""
        count = len(self.happenings)
        size = count
        while size >= 1:
            for start in range(0, count, size):
                rest = self.happenings[:start] + self.happenings[start + size :]
                yield replace(self, happenings=rest)
            size //= 2
        for index in range(len(self.jobs)):
            if len(self.jobs) > 1:
                yield replace(
                    self,
                    jobs=self.jobs[:index] + self.jobs[index + 1 :],
                    happenings=tuple(_without_job(self.happenings, index)),
                )
        if self.daemons > 1:
            rest = tuple(_with_fewer_daemons(self.happenings, self.daemons - 1))
            yield replace(self, daemons=self.daemons - 1, happenings=rest)
        if any(self.skew):
            yield replace(self, skew=())


def _with_fewer_daemons(happenings: tuple[Happening, ...], daemons: int) -> Iterator[Happening]:
    for one in happenings:
        daemon = one.options.get("daemon")
        yield one if daemon is None else replace(one, options={**one.options, "daemon": daemon % daemons})


def _without_job(happenings: tuple[Happening, ...], index: int) -> Iterator[Happening]:
    for one in happenings:
        job = one.options.get("job")
        if job is None or job < index:
            yield one
        elif job > index:
            yield replace(one, options={**one.options, "job": job - 1})


# ---- drawing ------------------------------------------------------------------------------------------------

#: Faults, and how often each is drawn in comparison.
FAULTS: Final = {
    "crash": 6,
    "crash_soon": 6,
    "restart": 1,
    "freeze": 3,
    "cut_power": 2,
    "set_clock": 2,
    "set_engine_clock": 1,
    "engine_dies": 4,
    "engine_dies_at_start": 6,
    "engine_hangs": 2,
    "network_fails": 3,
    "network_cut": 2,
    "events_fail": 2,
    "database_fails": 3,
    "database_hangs": 2,
    "receiver_fails": 2,
}
#: Operations of users.
OPERATIONS: Final = {"trigger": 4, "rush": 2, "stop": 2, "change": 2, "switch": 1, "delete": 1}


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"plan {seed}")
    jobs = tuple(_draw_job(dice) for _ in range(dice.randint(1, 3)))
    daemons = dice.choice((1, 1, 1, 2, 2, 3))
    happenings = [draw_operation(dice, jobs) for _ in range(dice.randint(0, 5))]
    happenings += [draw_fault(dice, daemons) for _ in range(dice.choice((0, 1, 2, 3, 4, 6)))]
    skew = tuple(round(dice.gauss(0, 20), 3) if dice.random() < 0.3 else 0.0 for _ in range(daemons + 1))
    return Plan(
        seed=seed,
        daemons=daemons,
        behaviour=dice.choice((*Kind, Kind.REPLACES)),
        cpus=dice.choice((0.3, 0.5, 1.0)),
        skew=(skew[0], *(0.0 if daemons > 1 else value for value in skew[1:])),
        slow=dice.choice((0.002, 0.02, 0.2)),
        jobs=jobs,
        happenings=tuple(sorted(happenings, key=lambda one: one.at)),
    )


def draw_fields(dice: random.Random) -> dict[str, Any]:
    """Further fields of a job's definition."""
    fields: dict[str, Any] = {
        "misfire_policy": dice.choice(("latest", "all", "skip")),
        "misfire_grace_seconds": dice.choice((0, 2, 30)),
        "concurrency_policy": dice.choice(("allow", "forbid", "queue", "replace")),
        "stop_grace_seconds": dice.choice((0, 1, 5)),
    }
    if dice.random() < 0.3:
        fields["timeout_seconds"] = dice.choice((1, 2, 4))
    if dice.random() < 0.4:
        fields["max_retries"] = dice.randint(1, 2)
        fields["retry_backoff_seconds"] = dice.choice((1, 5))
    if dice.random() < 0.2:
        fields["max_running"] = dice.choice((1, 2))
    return fields


def _draw_job(dice: random.Random) -> JobPlan:
    fields = draw_fields(dice)
    script = Script(
        lines=dice.choice((0, 1, 4, 12)),
        pause=dice.choice((0.0, 0.05, 0.4)),
        last=dice.choice((0.0, 0.1, 2.0)),
        exit_code=dice.choice((0, 0, 0, 3)),
        obeys=dice.random() < 0.7,
    )
    return JobPlan(
        step=dice.choice((None, 4.0, 9.0, 20.0)),
        script=script,
        fields=fields,
        has_hook=dice.random() < 0.4,
        is_fixed=dice.random() < 0.6,
    )


def draw_operation(dice: random.Random, jobs: tuple[JobPlan, ...]) -> Happening:
    """What a user does."""
    kind = dice.choices(list(OPERATIONS), list(OPERATIONS.values()))[0]
    return Happening(at=_moment(dice), kind=kind, options={"job": dice.randrange(len(jobs))})


def draw_fault(dice: random.Random, daemons: int) -> Happening:
    """A fault of a world with so many daemons."""
    kind = dice.choices(list(FAULTS), list(FAULTS.values()))[0]
    lasts = round(dice.choice((0.05, 0.5, 3.0, 12.0, 25.0)) * dice.uniform(0.5, 1.5), 3)
    options: dict[str, Any] = {"seconds": lasts}
    if kind in ("crash", "crash_soon", "restart", "freeze", "set_clock", "network_cut"):
        options["daemon"] = dice.randrange(daemons)
    options |= _OPTIONS[kind](dice) if kind in _OPTIONS else {}
    if daemons == 1 and "alone" in options:
        options["alone"] = False
    return Happening(at=_moment(dice), kind=kind, options=options)


#: How each fault is drawn, beyond how long it lasts and whom it meets.
_OPTIONS: Final[Mapping[str, Callable[[random.Random], dict[str, Any]]]] = {
    "crash_soon": lambda dice: {"steps": dice.randrange(1, 400)},
    "set_clock": lambda dice: {
        "by": dice.choice((-900.0, -40.0, -5.0, 5.0, 40.0, 600.0)),
        "alone": dice.random() < 0.5,
    },
    "set_engine_clock": lambda dice: {"by": dice.choice((-600.0, -20.0, 20.0, 600.0))},
    "cut_power": lambda dice: {"engine": dice.random() < 0.5},
    "engine_dies_at_start": lambda dice: {
        "start": dice.randint(1, 4),
        "takes_effect": dice.random() < 0.8,
    },
    "network_fails": lambda dice: {"lost": dice.choice((0.05, 0.3)), "late": dice.choice((0.0, 0.0, 0.1))},
    "events_fail": lambda dice: {
        "unheard": dice.choice((0.0, 0.3, 1.0)),
        "doubled": dice.choice((0.0, 0.5)),
    },
    "database_fails": lambda dice: {
        "trouble": dice.choice(("locked", "full", "broken")),
        "at_commit": dice.random() < 0.4,
    },
    "receiver_fails": lambda dice: {"how": dice.choice(("500", "hangs", "answer lost"))},
}


def _moment(dice: random.Random) -> float:
    return round(dice.uniform(0.5, LENGTH), 3)
