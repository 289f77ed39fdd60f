"""Lists of runs across jobs: what is found by index is what a look at every run would find."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.drafting import draft_exec
from scheduler.domain.execution import Exec, ExecStatus, FailReason, TriggerMode
from scheduler.domain.filters import ExecFilter, JobFilter, Order, Position
from scheduler.domain.job import STANDARD_SIZES, Job, JobDefinition, ScheduleCursor, ScheduleState
from scheduler.store import exec_lists, exec_ways, execs, jobs, stats
from scheduler.store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
W, R, S, F, C = ExecStatus


async def store_job(database: Database, name: str, namespace: str, **changes) -> Job:
    """A stored job."""
    definition = JobDefinition(name=name, namespace=namespace, docker_image_repo="busybox", **changes)
    return await database.write(
        lambda c: jobs.insert(c, definition, ScheduleCursor(), created_by="ada", now=NOW)
    )


def draft(job: Job, chance: random.Random) -> Exec:
    """A run of a job as chance has it; several share a moment."""
    created = NOW + SECOND * chance.randrange(40)
    status = chance.choice(list(ExecStatus))
    started = created + SECOND * chance.randrange(5)
    has_started = status in (R, S) or (status in (F, C) and chance.random() < 0.7)
    one = draft_exec(
        job, STANDARD_SIZES, trigger_mode=chance.choice(list(TriggerMode)), created_by="ada", now=created
    )
    return replace(
        one,
        spec=replace(one.spec, labels=dict(chance.sample([("a", "1"), ("b", "2"), ("a", "3")], 1))),
        status=status,
        started_at=started if has_started else None,
        ended_at=started + SECOND * chance.randrange(1, 9) if status in (S, F, C) else None,
        fail_reason=FailReason.TIMEOUT if status is F else None,
    )


@pytest.fixture
async def stored(database: Database) -> list[Exec]:
    """Three hundred runs of four jobs, two of which share a name."""
    chance = random.Random(7)  # noqa: S311 - the same every time
    made = [
        await store_job(database, name, namespace)
        for name, namespace in (("one", "team"), ("two", "team"), ("one", "other"), ("three", "other"))
    ]
    drafts = [draft(chance.choice(made), chance) for _ in range(300)]
    await database.write(lambda c: execs.insert(c, drafts))
    return drafts


async def names_of(database: Database) -> dict[int, str]:
    """The jobs' names by id."""
    _, found = await database.read(lambda c: jobs.page(c, JobFilter(), offset=0, limit=100))
    return {job.id: job.definition.name for job in found}


def matches(wanted: ExecFilter, names: dict[int, str]) -> Callable[[Exec], bool]:
    """Whether a run fulfils a filter, found out the slow way."""

    def is_within(moment: datetime | None, start: datetime | None, end: datetime | None) -> bool:
        if start is None and end is None:
            return True
        return moment is not None and (start or moment) <= moment <= (end or moment)

    return lambda one: (
        wanted.namespace in (None, one.namespace)
        and wanted.job_id in (None, one.job_id)
        and wanted.job_name in (None, names[one.job_id])
        and (not wanted.statuses or one.status in wanted.statuses)
        and (not wanted.trigger_modes or one.trigger_mode in wanted.trigger_modes)
        and is_within(one.created_at, wanted.created_from, wanted.created_to)
        and is_within(one.started_at, wanted.started_from, wanted.started_to)
        and wanted.labels.items() <= one.spec.labels.items()
    )


def draw_filter(chance: random.Random) -> ExecFilter:
    """Some filter."""

    def maybe(value):
        return value if chance.random() < 0.3 else None

    return ExecFilter(
        namespace=maybe("team"),
        job_id=maybe(chance.randrange(1, 5)),
        job_name=maybe("one"),
        statuses=frozenset(maybe(chance.sample(list(ExecStatus), 2)) or ()),
        trigger_modes=frozenset(maybe(chance.sample(list(TriggerMode), 2)) or ()),
        created_from=maybe(NOW + SECOND * 5),
        created_to=maybe(NOW + SECOND * 30),
        started_from=maybe(NOW + SECOND * 8),
        started_to=maybe(NOW + SECOND * 28),
        labels=maybe({"a": "1"}) or {},
    )


@pytest.mark.parametrize("rare", [3, exec_ways.RARE])
async def test_every_filter_finds_what_a_look_at_every_run_finds(
    database: Database, stored: list[Exec], rare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either order, by page and by cursor, whichever index is read; nothing is passed over and nothing twice."""
    monkeypatch.setattr(exec_ways, "RARE", rare)
    monkeypatch.setattr(exec_ways, "PROBED", rare * 2)
    monkeypatch.setattr(exec_lists, "LOOKED_UP", 10_000)  # in all, for every status, trigger mode and job
    chance = random.Random(11)  # noqa: S311
    names = await names_of(database)
    for _ in range(60):
        wanted = draw_filter(chance)
        orders = [order for order in Order if order.by_start or not wanted.asks_for_start]
        order = chance.choice(orders)
        expected = [one for one in stored if matches(wanted, names)(one)]
        count = len(expected)
        expected = [one for one in expected if not order.by_start or one.started_at is not None]
        expected.sort(
            key=lambda one, order=order: (one.started_at if order.by_start else one.created_at, one.id),
            reverse=order.is_descending,
        )
        limit = chance.randrange(1, 40)

        found: list[Exec] = []
        after = None
        while part := await database.read(
            lambda c, w=wanted, o=order, n=limit, a=after: exec_lists.find(c, w, o, limit=n, after=a)
        ):
            found += part
            last = part[-1]
            after = Position(last.started_at if order.by_start else last.created_at, last.id)
        assert [one.id for one in found] == [one.id for one in expected], (wanted, order)
        page = await database.read(lambda c, w=wanted, o=order: exec_lists.ids(c, w, o, limit=10, offset=15))
        assert page == [one.id for one in expected[15:25]]
        assert await database.read(lambda c, w=wanted: exec_lists.count(c, w)) == (count, False)


async def test_counting_stops_at_its_limit(
    database: Database, stored: list[Exec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond it the answer only says that there are more."""
    assert len(stored) > 20
    monkeypatch.setattr(exec_lists, "COUNTED", 20)
    for wanted in (ExecFilter(), ExecFilter(statuses=frozenset({S, F}))):
        assert await database.read(lambda c, w=wanted: exec_lists.count(c, w)) == (20, True)


async def test_counting_looks_up_only_so_many_runs(
    database: Database, stored: list[Exec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an index does not say all, what was found among those is said, and that there may be more."""
    wanted = ExecFilter(namespace="team", trigger_modes=frozenset({TriggerMode.MANUAL}))
    matching = [one for one in stored if one.namespace == "team" and one.trigger_mode is TriggerMode.MANUAL]
    monkeypatch.setattr(exec_lists, "LOOKED_UP", 20)
    found, is_estimate = await database.read(lambda c: exec_lists.count(c, wanted))
    assert is_estimate
    assert found <= 21
    assert await database.read(lambda c: exec_lists.count(c, wanted, count_all=True)) == (
        len(matching),
        False,
    )


async def test_figures_count_each_status_and_rank_durations(database: Database, stored: list[Exec]) -> None:
    """Percentiles by nearest rank, of runs that started and ended; the window's end is not in it."""
    start, end = NOW + SECOND * 3, NOW + SECOND * 33
    window = [one for one in stored if start <= one.created_at < end]
    found = await database.read(
        lambda c: stats.by_job(c, namespace=None, job_id=None, start=start, end=end, limit=10)
    )
    assert {one.job_id for one in found} == {one.job_id for one in window}
    for job in found:
        runs = [one for one in window if one.job_id == job.job_id]
        assert Counter(job.counts) == Counter(one.status for one in runs)
        took = sorted(one.ended_at - one.started_at for one in runs if one.ended_at and one.started_at)
        assert job.durations is not None
        assert job.durations.count == len(took)
        for share, value in ((50, job.durations.p50), (90, job.durations.p90), (99, job.durations.p99)):
            assert value == took[-(-len(took) * share // 100) - 1]
        assert job.durations.longest == took[-1]
        assert abs(job.durations.mean - sum(took, timedelta()) / len(took)) < timedelta(milliseconds=1)
    total = await database.read(
        lambda c: stats.totals(c, namespace="team", job_id=None, start=start, end=end)
    )
    assert total == Counter(one.status for one in window if one.namespace == "team")
    [one] = await database.read(
        lambda c: stats.by_job(c, namespace=None, job_id=None, start=start, end=end, limit=1)
    )
    assert sum(one.counts.values()) == max(Counter(run.job_id for run in window).values())


async def test_jobs_are_found_by_name_label_and_state(database: Database) -> None:
    """Each filter alone and all together; a change of labels is followed."""
    one = await store_job(database, "one", "team", labels={"tier": "db", "env": "prod"})
    two = await store_job(database, "two", "team", labels={"tier": "db"}, schedule_mode="@daily")
    await store_job(database, "one", "other")

    async def ids(**wanted) -> list[int]:
        _, found = await database.read(lambda c: jobs.page(c, JobFilter(**wanted), offset=0, limit=10))
        return [job.id for job in found]

    assert await ids(labels={"tier": "db"}) == [one.id, two.id]
    assert await ids(labels={"tier": "db", "env": "prod"}) == [one.id]
    assert await ids(name="one", namespace="team") == [one.id]
    assert await ids(schedule_state=ScheduleState.INACTIVE) == [two.id]
    assert one.id in await ids(schedule_state=ScheduleState.NONE)
    assert await ids(schedule_state=ScheduleState.ACTIVE) == []
    assert await ids(schedule_state=ScheduleState.FINISHED) == []
    changed = replace(two.definition, labels={"tier": "web"})
    await database.write(lambda c: jobs.update(c, two.id, changed, two.cursor, now=NOW))
    assert await ids(labels={"tier": "db"}) == [one.id]
    assert await ids(labels={"tier": "web"}) == [two.id]
