"""Who starts next: the order, the limits, and that nobody waits for ever."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.admission.choosing import MOST_OVERTAKING, Choice, FairShares, choose
from scheduler.admission.facts import Candidate, Holding, Lane, NamespacePolicy, RegionCapacity

NOW = datetime(2026, 3, 1, tzinfo=UTC)
MIB = 1 << 20
_numbers = itertools.count()


def run(
    job: int = 1,
    namespace: str = "a",
    *,
    cpus: float = 1.0,
    memory: int = 1,
    priority: int = 0,
    age: int | None = None,
    is_alone: bool = False,
    wait: int = 0,
) -> Candidate:
    """A waiting run; each is younger than the one before it, unless its `age` in seconds is given."""
    number = next(_numbers)
    return Candidate(
        id=f"run {number:06}",
        job_id=job,
        namespace=namespace,
        priority=priority,
        created_at=NOW + timedelta(microseconds=number) - timedelta(seconds=age or 0),
        cpus=cpus,
        memory_bytes=memory * MIB,
        is_alone=is_alone,
        not_before=NOW + timedelta(seconds=wait) if wait else None,
    )


@dataclass
class Place:
    """A region where runs start and end, decided by admission."""

    cpus: float = 4.0
    memory: int = 1000
    limits: Mapping[int, int | None] = field(default_factory=dict)
    policies: Mapping[str, NamespacePolicy] = field(default_factory=dict)
    waiting: list[Candidate] = field(default_factory=list)
    going: dict[str, Candidate] = field(default_factory=dict)
    turns: FairShares = field(default_factory=FairShares)

    def policy_of(self, name: str) -> NamespacePolicy:
        """What a namespace may do."""
        return self.policies.get(name, NamespacePolicy())

    def room(self) -> RegionCapacity:
        """What is left."""
        held = [Holding(o.job_id, o.namespace, "r", o.cpus, o.memory_bytes) for o in self.going.values()]
        return RegionCapacity("r", self.cpus, self.memory * MIB, held)

    def lanes(self) -> dict[int, Lane]:
        """What waits, as it would be read."""
        by_job: dict[int, list[Candidate]] = {}
        for one in sorted(self.waiting, key=lambda one: one.key):
            by_job.setdefault(one.job_id, []).append(one)
        return {job: Lane(self.limits.get(job), some, is_complete=True) for job, some in by_job.items()}

    def decide(self, most: int = 32) -> Choice:
        """Let start what may start."""
        choice = choose(self.lanes(), self.room(), self.turns, policy_of=self.policy_of, now=NOW, most=most)
        for one in choice.chosen:
            self.waiting.remove(one)
            self.going[one.id] = one
        for one in choice.hopeless:
            self.waiting.remove(one)
        return choice

    def start(self) -> Sequence[Candidate]:
        """What starts now."""
        return self.decide().chosen

    def end_oldest(self) -> None:
        """The run that was started first ends."""
        del self.going[next(iter(self.going))]


def test_runs_of_one_namespace_start_in_the_order_they_came() -> None:
    """Whatever jobs they are of."""
    runs = [run(job) for job in (1, 2, 1, 3)]
    place = Place(waiting=runs[::-1])

    assert place.start() == runs


def test_a_higher_priority_goes_first() -> None:
    """Also before older runs, of the same job, of others and of other namespaces."""
    low, middle, high = run(1), run(1, priority=1), run(2, "b", priority=2)
    place = Place(cpus=1, waiting=[low, middle, high])

    started = []
    while place.waiting:
        started += place.start()
        place.end_oldest()
    assert started == [high, middle, low]


def test_what_has_no_room_is_not_overtaken_by_younger_runs_of_its_namespace_and_priority() -> None:
    """Within a namespace and a priority, first come is first served."""
    large, small = run(1, cpus=4), run(2)
    place = Place(waiting=[large, small], going={"x": run(9)})

    assert place.start() == []
    place.end_oldest()
    assert place.start() == [large]


def test_the_namespace_that_holds_less_goes_first() -> None:
    """However many runs another has waiting, and however old these are."""
    place = Place(cpus=4, waiting=[run(1) for _ in range(100)])
    place.start()
    newcomer = run(2, "b")
    place.waiting.append(newcomer)

    place.end_oldest()
    assert place.start() == [newcomer]


def test_namespaces_take_turns_where_there_is_room_for_one_run_alone() -> None:
    """Nobody holds anything at the moment of the decision; who was served longest ago goes first."""
    place = Place(cpus=1, waiting=[run(n, name) for n, name in enumerate("abc") for _ in range(50)])

    served = []
    for _ in range(30):
        served += [one.namespace for one in place.start()]
        place.end_oldest()
    assert Counter(served) == {"a": 10, "b": 10, "c": 10}
    assert max(len(list(group)) for _, group in itertools.groupby(served)) == 1


@pytest.mark.parametrize("cpus", [1, 8])
def test_a_namespace_gets_a_share_by_its_weight(cpus: float) -> None:
    """Where there is room for one run, over time; where there is more, at any time."""
    policies = {"a": NamespacePolicy(weight=3)}
    place = Place(
        cpus=cpus,
        policies=policies,
        waiting=[run(n, name) for n, name in enumerate("ab") for _ in range(200)],
    )

    place.start()
    served = [one.namespace for one in place.going.values()]
    for _ in range(100):
        place.end_oldest()
        served += [one.namespace for one in place.start()]
    counts = Counter(served)
    assert counts["a"] / counts["b"] == pytest.approx(3, rel=0.15)


def test_a_namespace_that_was_idle_has_saved_nothing_up() -> None:
    """It gets its turn at once, and then no more than the others."""
    place = Place(cpus=1, waiting=[run(1, "a") for _ in range(100)])
    for _ in range(50):
        place.start()
        place.end_oldest()
    place.waiting += [run(2, "b") for _ in range(50)]

    served = []
    for _ in range(20):
        served += [one.namespace for one in place.start()]
        place.end_oldest()
    assert served[0] == "b"
    assert Counter(served) == {"a": 10, "b": 10}


def test_a_job_has_no_more_runs_going_than_its_limit() -> None:
    """Others of its namespace pass by, also behind a hundred thousand of them."""
    limited = [run(1) for _ in range(1000)]
    other = run(2)
    place = Place(limits={1: 2}, waiting=[*limited, other])

    assert place.start() == [*limited[:2], other]
    assert place.start() == []
    place.end_oldest()
    assert place.start() == [limited[2]]


def test_a_namespace_has_no_more_runs_going_than_its_limit() -> None:
    """Of whatever jobs and priorities; other namespaces pass by."""
    place = Place(
        policies={"a": NamespacePolicy(max_running=1)},
        waiting=[run(1), run(2, priority=9), run(3, "b"), run(4, "b")],
    )

    assert Counter(one.namespace for one in place.start()) == {"a": 1, "b": 2}


def test_runs_that_go_one_after_the_other_do() -> None:
    """Also while the first of them is in its back-off."""
    first, second = run(1, is_alone=True), run(1, is_alone=True)
    place = Place(waiting=[first, second])
    assert place.start() == [first]
    assert place.start() == []

    place = Place(waiting=[run(1, is_alone=True, wait=5), run(1, is_alone=True)])
    assert place.start() == []


def test_a_back_off_holds_up_nothing_else() -> None:
    """The next run of the same job starts."""
    later, now = run(1, wait=5), run(1)
    place = Place(waiting=[later, now])

    assert place.start() == [now]


def test_what_is_larger_than_all_there_is_is_told_apart() -> None:
    """It does not hold up what is behind it."""
    huge, small = run(1, cpus=5), run(1)
    choice = Place(waiting=[huge, small]).decide()

    assert (choice.hopeless, choice.chosen) == ([huge], [small])


def test_a_decision_stops_where_not_all_has_been_read() -> None:
    """What would come next may be among what was not."""
    seen, other = run(1), run(2)
    lanes = {1: Lane(None, [seen], is_complete=False), 2: Lane(None, [other], is_complete=True)}

    choice = choose(
        lanes, Place().room(), FairShares(), policy_of=lambda _: NamespacePolicy(), now=NOW, most=9
    )

    assert (choice.chosen, choice.is_thirsty) == ([seen], True)


def test_a_large_run_is_overtaken_by_so_many_small_ones_and_no_more() -> None:
    """Small runs of another namespace, which holds less, go on coming and ending one at a time."""
    large = run(1, "a", cpus=4)
    place = Place(waiting=[large], going={"mine": run(2, "a")})
    overtaking = 0
    place.waiting += [run(3, "b") for _ in range(3)]
    place.start()
    place.going["last"] = place.going.pop("mine")  # it ends last of all
    while large not in place.going.values():
        place.waiting.append(run(3, "b"))
        overtaking += len(place.start())
        if large not in place.going.values():
            place.end_oldest()
        assert overtaking <= MOST_OVERTAKING + 4


def test_what_holds_the_region_gives_way_to_a_higher_priority() -> None:
    """And to nothing else."""
    large = run(1, cpus=4)
    place = Place(waiting=[large], going={"x": run(9)}, turns=FairShares(holder=large))
    place.waiting += [run(2, "b"), urgent := run(3, "c", priority=1)]

    assert place.start() == [urgent]


def test_what_holds_the_region_and_comes_to_a_limit_holds_it_no_more() -> None:
    """The room is for whoever can use it."""
    large = run(1, cpus=4)
    place = Place(waiting=[large], going={"x": run(1)}, turns=FairShares(holder=large), limits={1: 1})
    place.waiting.append(other := run(2, "b"))

    assert place.start() == [other]
    assert place.turns.holder is None


# ---- properties ------------------------------------------------------------------------------------------------

_JOBS = st.integers(1, 6)
_runs = st.builds(
    dict,
    job=_JOBS,
    cpus=st.sampled_from([0.15, 0.25, 0.5, 1.0, 2.0]),
    memory=st.sampled_from([64, 128, 256, 900]),
    priority=st.sampled_from([-1, 0, 0, 0, 5]),
    wait=st.sampled_from([0, 0, 0, 9]),
)
_NAMESPACE_OF = {1: "a", 2: "a", 3: "b", 4: "b", 5: "c", 6: "c"}
_ALONE = {2, 6}
_places = st.builds(
    Place,
    cpus=st.sampled_from([1.0, 2.0, 2.5]),
    limits=st.dictionaries(_JOBS, st.integers(1, 3)),
    policies=st.dictionaries(
        st.sampled_from("abc"),
        st.builds(
            NamespacePolicy,
            max_running=st.one_of(st.none(), st.integers(1, 4)),
            weight=st.sampled_from([0.5, 1.0, 2.0]),
        ),
    ),
)


def _made(spec: dict) -> Candidate:
    return run(namespace=_NAMESPACE_OF[spec["job"]], is_alone=spec["job"] in _ALONE, **spec)


def _check_limits(place: Place) -> None:
    going = list(place.going.values())
    assert sum(one.cpus for one in going) <= place.cpus + 1e-6
    assert sum(one.memory_bytes for one in going) <= place.memory * MIB
    for job, count in Counter(one.job_id for one in going).items():
        assert count <= (1 if job in _ALONE else place.limits.get(job) or count)
    for name, count in Counter(one.namespace for one in going).items():
        assert count <= (place.policy_of(name).max_running or count)


@given(_places, st.lists(st.one_of(_runs, st.just("end"), st.just("decide")), max_size=60))
@settings(deadline=None)
def test_no_decision_goes_beyond_the_capacity_or_a_limit(place: Place, steps: list) -> None:
    """Whatever comes and ends in whatever order; and nothing in its back-off starts."""
    place = replace(place, waiting=[], going={}, turns=FairShares())
    for step in steps:
        if step == "decide":
            started = place.decide().chosen
            assert all(one.not_before is None for one in started)
            _check_limits(place)
        elif step == "end":
            if place.going:
                place.end_oldest()
        else:
            place.waiting.append(_made(step))


@given(_places, st.lists(_runs, max_size=40))
@settings(deadline=None)
def test_whatever_waits_starts_in_the_end_and_in_the_order_of_its_namespace(
    place: Place, specs: list[dict]
) -> None:
    """Runs end one after the other; within one job and priority they start as they came."""
    place = replace(place, waiting=[], going={}, turns=FairShares())
    specs = [spec | {"wait": 0} for spec in specs]
    place.waiting = [_made(spec) for spec in specs]
    everything = list(place.waiting)
    started: list[Candidate] = []
    for _ in range(len(specs) + 1):
        started += place.start()
        if place.going:
            place.end_oldest()
    able = [one for one in everything if one.cpus <= place.cpus]
    assert sorted(one.id for one in started) == sorted(one.id for one in able)
    for job, priority in {(one.job_id, one.priority) for one in started}:
        ids = [one.id for one in started if (one.job_id, one.priority) == (job, priority)]
        assert ids == sorted(ids)


@given(_places, st.lists(_runs, min_size=1, max_size=30), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_no_run_waits_for_ever_while_others_of_its_priority_go_on_coming(
    place: Place, specs: list[dict], seed: int
) -> None:
    """A run at the front of its line starts after a bounded number of others, however these are mixed."""
    place = replace(place, waiting=[], going={}, turns=FairShares(), limits={}, policies={})
    plain = [spec | {"wait": 0, "priority": 0} for spec in specs]
    if not (able := [spec for spec in plain if spec["cpus"] <= place.cpus]):
        return
    target = _made(able[seed % len(able)])
    place.waiting = [target]
    endless = itertools.cycle(able)
    others = 0
    for _ in range(400):
        while len(place.waiting) < 12:
            place.waiting.append(_made(next(endless)))
        started = place.start()
        if target in started:
            return
        others += len(started)
        if place.going:
            place.end_oldest()
    pytest.fail(f"{others} others started, and it did not")


@given(_places, st.lists(_runs, max_size=30))
@settings(deadline=None)
def test_capacity_does_not_lie_idle_while_something_could_use_it(place: Place, specs: list[dict]) -> None:
    """Unless it is kept for a run that was overtaken often enough, or for one that comes earlier in its line."""
    place = replace(place, waiting=[], going={}, turns=FairShares())
    place.waiting = [_made(spec | {"wait": 0}) for spec in specs]
    place.decide(most=1000)

    room = place.room()
    blocked = place.decide(most=1000).blocked
    kept = {
        job
        for job, lane in place.lanes().items()
        if (lane.waiting[0].namespace, lane.waiting[0].priority) in blocked
    }
    for one in place.waiting:
        is_limited = room.is_over_job_limit(one, place.limits.get(one.job_id)) or (
            room.is_over_namespace_limit(one.namespace, place.policy_of(one.namespace))
        )
        assert (
            is_limited
            or not room.fits(one)
            or (one.namespace, one.priority) in blocked
            or one.job_id in kept
            or place.turns.holder is not None
        )
