"""Schedules: where each stands, what it will do, and the ledger of what became of every due time."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from yarl import URL

from api.schemas import schedules as schemas
from scheduler.domain.execution import Outcome
from scheduler.store import ledger
from scheduler.store.ledger import Occurrence
from tests.api.conftest import Api, World, check_problem, until
from tests.lab.moments import in_time, written

FAR = "R/2099-01-01T00:00:00Z/P1D"


def standing(job: dict[str, Any]) -> tuple[str, str | None]:
    """Where a job's schedule stands."""
    return job["schedule_state"], job["next_run_at"]


async def test_a_schedule_goes_from_none_to_inactive_to_active_and_back(api: Api):
    """Each state follows from the fields, and `next_run_at` is known in one of them alone."""
    job = await api.create()
    assert standing(job) == ("none", None)
    job = await api.change(job["id"], schedule_mode=FAR)
    assert standing(job) == ("inactive", None)
    job = await api.change(job["id"], is_schedule_active=True)
    assert standing(job) == ("active", "2099-01-01T00:00:00.000000+00:00")
    job = await api.change(job["id"], is_schedule_active=False)
    assert standing(job) == ("inactive", None)
    job = await api.change(job["id"], schedule_mode=None)
    assert standing(job) == ("none", None)


@pytest.mark.parametrize(
    "schedule",
    [
        "R0/2099-01-01T00:00:00Z/PT1H",
        "R1/2015-12-31T16:00:23.446Z/PT1H",
        "R5/2015-01-01T00:00:00Z/P1D",
        "R0//PT1H",
    ],
)
async def test_a_schedule_without_a_run_left_is_finished(api: Api, schedule: str):
    """R0 never runs, and what lies before the switching on never happened: neither is an error, nor missed."""
    job = await api.create(schedule_mode=schedule, is_schedule_active=True)
    assert standing(job) == ("finished", None)
    assert (await api.get(f"/v1/jobs/{job['id']}/occurrences")).body["count"] == 0


async def test_a_start_in_the_past_goes_on_from_there(api: Api):
    """An endless schedule from long ago keeps its step: the next run is the next full hour."""
    before = datetime.now(UTC)
    job = await api.create(schedule_mode="R/1970-01-01T00:00:00Z/PT1H", is_schedule_active=True)
    following = datetime.fromisoformat(job["next_run_at"])
    assert before <= following <= datetime.now(UTC) + timedelta(hours=1)
    assert (following.minute, following.second, following.microsecond) == (0, 0, 0)


async def test_a_start_that_is_left_out_is_written_in_when_the_schedule_is_switched_on(api: Api):
    """`R3//PT1H` stays as it is while off; on, it has its start, which later switching keeps."""
    job = await api.create(schedule_mode="R3//PT1H")
    assert job["schedule_mode"] == "R3//PT1H"
    before = datetime.now(UTC)
    job = await api.change(job["id"], is_schedule_active=True)
    count, start, step = job["schedule_mode"].split("/")
    assert (count, step) == ("R3", "PT1H")
    started = datetime.fromisoformat(start)
    assert before <= started <= datetime.now(UTC) + timedelta(milliseconds=2)
    off = await api.change(job["id"], is_schedule_active=False)
    on = await api.change(job["id"], is_schedule_active=True)
    assert off["schedule_mode"] == on["schedule_mode"] == job["schedule_mode"]
    assert datetime.fromisoformat(on["next_run_at"]) in {started, started + timedelta(hours=1)}
    created = await api.create("at once", schedule_mode="R//PT1H", is_schedule_active=True)
    assert created["schedule_mode"].startswith("R/20")


async def test_a_start_without_an_offset_is_on_the_wall_clock_of_the_jobs_zone(api: Api):
    """Nine o'clock in Berlin is eight in winter; changing the zone moves it."""
    job = await api.create(
        schedule_mode="R/2099-01-31T09:00:00/P1M", schedule_timezone="Europe/Berlin", is_schedule_active=True
    )
    assert job["next_run_at"] == "2099-01-31T08:00:00.000000+00:00"
    job = await api.change(job["id"], schedule_timezone="Asia/Kathmandu")
    assert job["next_run_at"] == "2099-01-31T03:15:00.000000+00:00"
    job = await api.change(job["id"], schedule_timezone=None)
    assert job["next_run_at"] == "2099-01-31T09:00:00.000000+00:00"


async def test_cron_and_its_nicknames_are_schedules(api: Api):
    """A five-field expression and `@daily` are switched on like any other."""
    job = await api.create(
        schedule_mode="30 4 1 1 *", schedule_timezone="Asia/Shanghai", is_schedule_active=True
    )
    following = datetime.fromisoformat(job["next_run_at"])
    assert (following.month, following.day, following.hour, following.minute) == (12, 31, 20, 30)
    job = await api.change(job["id"], schedule_mode="@daily", schedule_timezone=None)
    assert job["next_run_at"].endswith("T00:00:00.000000+00:00")


async def test_a_due_time_becomes_a_run_and_an_entry_in_the_ledger(api: Api):
    """The run says for which due time it is, the ledger names the run, and the schedule is finished."""
    names = map(str, itertools.count())
    at, job = await in_time(
        lambda at: api.create(
            next(names), command="true", schedule_mode=f"R1/{written(at)}/PT1H", is_schedule_active=True
        ),
        seconds=0.3,
    )
    assert standing(job)[0] == "active"
    listed = await until(lambda: api.get(f"/v1/jobs/{job['id']}/execs"), lambda answer: answer.body["count"])
    (one,) = listed.body["results"]
    assert (one["trigger_mode"], one["created_by"]) == ("S", "admin")
    assert datetime.fromisoformat(one["scheduled_for"]) == at
    assert one["scheduled_for"] == job["next_run_at"]
    assert (await api.until_ended(job["id"], one["id"]))["status"] == "S"
    answer = await api.get(f"/v1/jobs/{job['id']}/occurrences")
    assert answer.status == 200
    (entry,) = answer.body["results"]
    assert entry["decided_at"] >= entry["due_at"]
    assert {**entry, "decided_at": None} == {
        "due_at": one["scheduled_for"],
        "outcome": "ran",
        "exec": one["id"],
        "reason": None,
        "decided_at": None,
    }
    assert standing(await api.job(job["id"])) == ("finished", None)


async def test_a_change_takes_effect_at_once(api: Api):
    """Moved to now, a far schedule runs; switched off or deleted in time, a near one does not."""
    numbers = itertools.count()

    async def change_all(at: datetime) -> list[dict[str, Any]]:
        number, schedule = next(numbers), f"R/{written(at)}/PT1S"
        moved, off, gone, later = [
            await api.create(f"{name}-{number}", command="true", schedule_mode=mode, is_schedule_active=True)
            for name, mode in (("moved", FAR), ("off", schedule), ("gone", schedule), ("later", schedule))
        ]
        await api.change(off["id"], is_schedule_active=False)
        assert (await api.delete(f"/v1/jobs/{gone['id']}")).status == 204
        await api.change(later["id"], schedule_mode=FAR)
        await api.change(moved["id"], schedule_mode=f"R1/{written(at)}/PT1S")
        return [moved, off, later]

    _, (moved, off, later) = await in_time(change_all, seconds=0.9)
    await until(lambda: api.get(f"/v1/jobs/{moved['id']}/execs"), lambda answer: answer.body["count"])
    for job in (off, later):
        assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 0
        assert (await api.get(f"/v1/jobs/{job['id']}/occurrences")).body["count"] == 0


async def test_a_change_of_other_fields_leaves_the_schedule_where_it_stands(api: Api):
    """Renaming a job, or sending back the schedule it has, does not start it anew."""
    job = await api.create(schedule_mode="R3/2099-01-01T00:00:00Z/PT1H", is_schedule_active=True)
    same = await api.change(
        job["id"], name="renamed", schedule_mode=job["schedule_mode"], is_schedule_active=True
    )
    assert (same["schedule_mode"], same["next_run_at"]) == (job["schedule_mode"], job["next_run_at"])


async def test_a_due_time_during_a_run_that_forbids_another_is_recorded_as_skipped(api: Api):
    """The ledger has the outcome and the reason, and there is no second run."""
    job = await api.create(command="hang", concurrency_policy="forbid")
    await api.trigger(job["id"])
    await in_time(
        lambda at: api.change(job["id"], schedule_mode=f"R1/{written(at)}/PT1H", is_schedule_active=True),
        seconds=0.3,
    )
    answer = await until(lambda: api.get(f"/v1/jobs/{job['id']}/occurrences"), lambda a: a.body["count"])
    entry, *earlier = answer.body["results"]
    assert [one["outcome"] for one in earlier] == ["skipped"] * len(earlier)  # those that were not in time
    assert (entry["outcome"], entry["exec"]) == ("skipped", None)
    assert entry["reason"]
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 1


async def test_a_schedule_is_needed_to_switch_it_on(api: Api):
    """On without a schedule, or the schedule taken away while on, is refused with both ways out."""
    job = await api.create(schedule_mode=FAR, is_schedule_active=True)
    for answer in (
        await api.post("/v1/jobs", {"name": "n", "docker_image_repo": "b", "is_schedule_active": True}),
        await api.put(f"/v1/jobs/{job['id']}", {"schedule_mode": None}),
    ):
        assert answer.status == 400
        entry = answer.errors()["schedule_mode"]
        assert entry["message"] == "is required when is_schedule_active is true"
        assert "is_schedule_active to false" in entry["remedy"]


BAD_SCHEDULES = [
    ("", 1), ("R", None), ("R/", None), ("R-1/2026-01-01T00:00:00Z/PT1H", 2), ("R+3/2026-01-01T00:00:00Z/PT1H", 2),
    ("R３/2026-01-01T00:00:00Z/PT1H", 2), ("r3/2026-01-01T00:00:00Z/PT1H", 1),
    ("R3/2026-01-01T00:00:00Z/PT1H ", None),
    ("R3/2026-01-01T00:00:00Z/PT1Hx", None), ("R3/2026-01-01T00:00:00Z/P1H", None),
    ("R3/2026-01-01T00:00:00Z/PT0S", None),
    ("R3/2026-01-01T00:00:00Z/-PT1H", None), ("R3/2026-01-01T00:00:00Z/PT0.5S", None),
    ("R3/2026-02-30T00:00:00Z/PT1H", None),
    ("R3/2026-01-01T00:00:60Z/PT1H", None), ("R3/2026-01-02T00:00:00Z/2026-01-01T00:00:00Z", None),
    ("P1D", None), ("tomorrow", None), ("* * * *", None), ("60 * * * *", None), ("* * * * * *", None),
    ("@never", None),
    ("R3/\n", None), ("\x00", 1), ("R3//PT1H" + "x" * 300, 257),
]  # fmt: skip


async def test_a_bad_schedule_is_refused_with_its_position_and_a_remedy(api: Api, subtests: pytest.Subtests):
    """Job and preview refuse alike, by their own field's name, on or off."""
    for text, position in BAD_SCHEDULES:
        with subtests.test(schedule=text[:40]):
            body = {"name": "n", "docker_image_repo": "b", "schedule_mode": text}
            answers = [
                ("schedule_mode", await api.post("/v1/jobs", body)),
                ("schedule_mode", await api.post("/v1/jobs", {**body, "is_schedule_active": True})),
            ]
            if text:
                query = URL("/v1/schedules/preview").with_query({"schedule": text})
                answers.append(("schedule", await api.get(query)))
            for field, answer in answers:
                assert answer.status == 400
                entry = answer.errors()[field]
                if "\x00" not in text:  # a field that holds NUL is refused before it is read as a schedule
                    assert "(at position " in entry["message"]
                    if position is not None:
                        assert entry["message"].endswith(f"(at position {position})")
                assert text.startswith(str(entry["value"]).removesuffix("…"))
    assert (await api.get("/v1/jobs")).body["count"] == 0


NO_ZONES = [
    "Mars/Olympus", "", "+02:00", "UTC+8", "europe/berlin", "../../etc/passwd", "/etc/localtime", "Europe/",
    "x" * 500, "柏林",
]  # fmt: skip


@pytest.mark.parametrize("zone", NO_ZONES)
async def test_a_zone_that_does_not_exist_is_refused(api: Api, zone: str):
    """Job and preview name the zone and what to write."""
    answer = await api.post("/v1/jobs", {"name": "n", "docker_image_repo": "b", "schedule_timezone": zone})
    assert answer.status == 400
    assert set(answer.errors()) == {"schedule_timezone"}
    if zone:
        query = URL("/v1/schedules/preview").with_query({"schedule": "@daily", "timezone": zone})
        answer = await api.get(query)
        assert answer.status == 400
        assert set(answer.errors()) == {"timezone"}


# ---- previews --------------------------------------------------------------------------------------------


async def preview(api: Api, language: str | None = None, **query: str) -> dict[str, Any]:
    """The preview of a schedule."""
    headers = {} if language is None else {"Accept-Language": language}
    answer = await api.get(URL("/v1/schedules/preview").with_query(query), headers=headers)
    assert answer.status == 200, answer.text
    return answer.body


async def test_a_preview_shows_due_times_in_utc_and_on_the_wall_clock(api: Api):
    """Months from the 31st are clamped and never drift, and a sentence says what the schedule means."""
    found = await preview(
        api,
        schedule="R5/2026-01-31T09:00:00/P1M",
        timezone="Europe/Berlin",
        after="2026-01-01T00:00:00Z",
        count="3",
    )
    assert [(one["at"], one["local"], one["note"]) for one in found["occurrences"]] == [
        ("2026-01-31T08:00:00.000000+00:00", "2026-01-31T09:00:00.000000+01:00", None),
        ("2026-02-28T08:00:00.000000+00:00", "2026-02-28T09:00:00.000000+01:00", None),
        ("2026-03-31T07:00:00.000000+00:00", "2026-03-31T09:00:00.000000+02:00", None),
    ]
    assert set(found) == {"occurrences", "description"}
    assert found["description"]


async def test_a_preview_marks_what_daylight_saving_does(api: Api):
    """A skipped wall-clock time runs at the first moment after the gap; one that comes twice runs the first time."""
    spring = await preview(
        api, schedule="30 2 * * *", timezone="Europe/Berlin", after="2026-03-28T12:00:00Z", count="1"
    )
    assert [(one["local"], one["note"]) for one in spring["occurrences"]] == [
        ("2026-03-29T03:00:00.000000+02:00", "gap")
    ]
    autumn = await preview(
        api, schedule="30 2 * * *", timezone="Europe/Berlin", after="2026-10-24T12:00:00Z", count="2"
    )
    assert [(one["local"], one["note"]) for one in autumn["occurrences"]] == [
        ("2026-10-25T02:30:00.000000+02:00", "fold"),
        ("2026-10-26T02:30:00.000000+01:00", None),
    ]


async def test_a_preview_without_after_begins_now_and_shows_five(api: Api):
    """The defaults are the present and five due times."""
    before = datetime.now(UTC)
    found = await preview(api, schedule="R/1970-01-01T00:00:00Z/PT1S")
    moments = [datetime.fromisoformat(one["at"]) for one in found["occurrences"]]
    assert len(moments) == 5
    assert before <= moments[0] <= datetime.now(UTC) + timedelta(seconds=1)


async def test_previews_are_reckoned_beside_the_event_loop(api: Api, monkeypatch: pytest.MonkeyPatch):
    """What a long preview takes is not taken from the other requests."""
    threads: list[int] = []
    reckon = schemas.preview

    def watched(*arguments: Any) -> Any:
        threads.append(threading.get_ident())
        return reckon(*arguments)

    monkeypatch.setattr(schemas, "preview", watched)
    job = await api.create(schedule_mode="0 0 29 2 */6")
    await preview(api, schedule="0 0 29 2 */6", timezone="Europe/Berlin", after="2026-01-01", count="1000")
    assert (await api.get(f"/v1/jobs/{job['id']}/schedule")).status == 200
    assert len(threads) == 2
    assert threading.get_ident() not in threads


async def test_a_plus_sign_that_was_not_escaped_is_still_a_plus_sign(api: Api):
    """In a URL a bare '+' reads as a space; offsets survive it."""
    answer = await api.get(
        URL(
            "/v1/schedules/preview?schedule=R1/2026-01-01T00:00:00+02:00/PT1H&after=2025-01-01T00:00:00+00:00",
            encoded=True,
        )
    )
    assert answer.status == 200
    assert answer.body["occurrences"][0]["at"] == "2025-12-31T22:00:00.000000+00:00"


async def test_a_space_that_is_no_lost_plus_sign_stays_as_it_was_given(api: Api):
    """Between date and time it is told as white space where it stands; the offset's sign is restored alone."""
    for after in ("2026-01-01 09:00:00", "2026-01-01 09:00:00Z"):
        answer = await api.get(URL("/v1/schedules/preview").with_query(schedule="@daily", after=after))
        entry = answer.errors()["after"]
        assert entry["value"] == after
        assert "+" not in entry["message"] + entry["remedy"]
    schedule = "R1/2026-01-01 09:00:00Z/PT1H"
    answer = await api.get(URL("/v1/schedules/preview").with_query(schedule=schedule))
    entry = answer.errors()["schedule"]
    assert (entry["value"], entry["message"]) == (
        schedule,
        "is not a valid schedule: white space is not allowed in an interval (at position 14)",
    )
    for offset in (" 02:00", " 0200", " 02"):
        query = {"schedule": "@hourly", "after": f"2026-01-01T09:00:00.5{offset}", "count": "1"}
        found = await preview(api, **query)
        assert found["occurrences"][0]["at"] == "2026-01-01T08:00:00.000000+00:00"


@pytest.mark.parametrize(
    ("language", "chinese"),
    [("zh", True), ("zh-CN,zh;q=0.9,en;q=0.8", True), ("en-US,en;q=0.9,zh;q=0.5", False), ("fr, zh;q=0.3", True),
     ("de", False), ("en;q=0.1, ZH-Hant;q=0.2", True), ("zh;q=0", False), ("zh;q=nonsense", False), ("*", False),
     (";;;,,q=", False), ("zh; q=0.5", True), (None, False)],
)  # fmt: skip
async def test_the_sentence_is_in_the_readers_language(api: Api, language: str | None, chinese: bool):
    """Chinese for who prefers it to English, else English."""
    found = await preview(api, language, schedule="R/2026-01-01T00:00:00Z/P1D")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in found["description"]) is chinese


@pytest.mark.parametrize(
    ("query", "field"),
    [({}, "schedule"), ({"schedule": ""}, "schedule"), ({"schedule": "@daily", "count": "0"}, "count"),
     ({"schedule": "@daily", "count": "1001"}, "count"), ({"schedule": "@daily", "count": "many"}, "count"),
     ({"schedule": "@daily", "after": "yesterday"}, "after"),
     ({"schedule": "@daily", "after": "2026-02-30"}, "after"),
     ({"schedule": "@daily", "after": "1700000000"}, "after")],
)  # fmt: skip
async def test_a_preview_that_cannot_be_reckoned_is_refused(api: Api, query: dict[str, str], field: str):
    """The 400 names the parameter."""
    answer = await api.get(URL("/v1/schedules/preview").with_query(query))
    assert answer.status == 400
    assert set(answer.errors()) == {field}


async def test_everything_wrong_with_a_preview_is_told_at_once(api: Api):
    """One entry a parameter, with what was given."""
    wrong = {"schedule": "R3//P1H", "timezone": "Mars/Olympus", "after": "yesterday", "count": "0"}
    answer = await api.get(URL("/v1/schedules/preview").with_query(wrong))
    assert answer.status == 400
    check_problem(answer)
    assert {field: entry["value"] for field, entry in answer.errors().items()} == wrong
    assert len(answer.body["errors"]) == 4
    job = await api.create(schedule_mode=FAR)
    answer = await api.get(f"/v1/jobs/{job['id']}/schedule?after=yesterday&count=0")
    assert set(answer.errors()) == {"after", "count"}


async def test_a_preview_of_an_interval_without_a_start_begins_at_the_moment_given(api: Api):
    """`R3//PT1H` is shown as if it were switched on then, by the preview and by a job that is off."""
    found = await preview(api, schedule="R3//PT1H", after="2026-05-01T12:00:00Z")
    expected = [f"2026-05-01T{hour}:00:00.000000+00:00" for hour in (12, 13, 14)]
    assert [one["at"] for one in found["occurrences"]] == expected
    assert "when the schedule is switched on" in found["description"]
    job = await api.create(schedule_mode="R3//PT1H")
    answer = await api.get(f"/v1/jobs/{job['id']}/schedule?after=2026-05-01T12:00:00Z")
    assert [one["at"] for one in answer.body["occurrences"]] == expected
    assert answer.body["description"] == found["description"]
    assert len((await preview(api, schedule="R//PT1H"))["occurrences"]) == 5


async def test_a_jobs_schedule_is_shown_with_what_comes(api: Api):
    """State, zone and text of the job with its next due times; off, what it would do."""
    job = await api.create(
        schedule_mode="R3/2099-01-01T00:00:00/P1D", schedule_timezone="Asia/Shanghai", is_schedule_active=True
    )
    answer = await api.get(f"/v1/jobs/{job['id']}/schedule?count=2", headers={"Accept-Language": "zh"})
    assert answer.status == 200
    body = answer.body
    assert [one["at"] for one in body.pop("occurrences")] == [
        "2098-12-31T16:00:00.000000+00:00",
        "2099-01-01T16:00:00.000000+00:00",
    ]
    assert any("\u4e00" <= letter <= "\u9fff" for letter in body.pop("description"))
    assert body == {
        "schedule_mode": "R3/2099-01-01T00:00:00/P1D",
        "schedule_timezone": "Asia/Shanghai",
        "is_schedule_active": True,
        "schedule_state": "active",
        "next_run_at": "2098-12-31T16:00:00.000000+00:00",
    }
    await api.change(job["id"], is_schedule_active=False)
    off = (await api.get(f"/v1/jobs/{job['id']}/schedule?after=2099-01-02T00:00:00")).body
    assert (off["schedule_state"], off["next_run_at"]) == ("inactive", None)
    assert [one["local"] for one in off["occurrences"]] == ["2099-01-03T00:00:00.000000+08:00"]


async def test_a_job_without_a_schedule_has_nothing_to_come(api: Api):
    """No schedule: state none, no due times, no sentence."""
    job = await api.create()
    answer = await api.get(f"/v1/jobs/{job['id']}/schedule")
    assert (answer.status, answer.body) == (
        200,
        {
            "schedule_mode": None,
            "schedule_timezone": None,
            "is_schedule_active": False,
            "schedule_state": "none",
            "next_run_at": None,
            "occurrences": [],
            "description": None,
        },
    )


# ---- the ledger ------------------------------------------------------------------------------------------


async def fill(world: World, job_id: int) -> list[datetime]:
    """Give the job a ledger with an entry an hour, of each outcome in turn."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    moments = [start + timedelta(hours=hour) for hour in range(8)]
    entries = [
        Occurrence(
            job_id=job_id,
            due_at=at,
            outcome=outcome,
            exec_id=f"exec-{at.hour}" if outcome is Outcome.RAN else None,
            reason=None if outcome is Outcome.RAN else f"because of {outcome.value}",
            decided_at=at,
        )
        for at, outcome in zip(moments, list(Outcome) * 2, strict=True)
    ]
    await world.parts.database.write(lambda connection: ledger.record(connection, entries))
    return moments


async def test_the_ledger_lists_every_due_time_with_the_newest_first(api: Api, world: World):
    """An envelope of entries with outcome, exec or reason, and moments in the usual format."""
    job = await api.create()
    moments = await fill(world, job["id"])
    answer = await api.get(f"/v1/jobs/{job['id']}/occurrences?page_size=3")
    assert answer.status == 200
    assert answer.body["count"] == 8
    assert answer.body["results"][2] == {
        "due_at": "2026-01-01T05:00:00.000000+00:00",
        "outcome": "skipped",
        "exec": None,
        "reason": "because of skipped",
        "decided_at": "2026-01-01T05:00:00.000000+00:00",
    }
    listed = (await api.get(f"/v1/jobs/{job['id']}/occurrences")).body["results"]
    assert [datetime.fromisoformat(one["due_at"]) for one in listed] == moments[::-1]


@pytest.mark.parametrize(
    ("query", "hours"),
    [
        ("outcome=ran", [4, 0]),
        ("outcome=missed,expired", [7, 6, 3, 2]),
        ("from=2026-01-01T05:00:00Z", [7, 6, 5]),
        ("to=2026-01-01T01:00:00Z", [1, 0]),
        ("from=2026-01-01T02:00:00Z&to=2026-01-01T02:00:00Z", [2]),
        ("from=2026-01-01T10:00:00%2B08:00&to=2026-01-01T11:00:00+08:00", [3, 2]),
        ("from=2026-01-01T03:30:00&outcome=ran", [4]),
        ("from=&to=&outcome=", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("from=2027-01-01T00:00:00Z", []),
    ],
)
async def test_the_ledger_is_filtered_by_due_time_and_outcome(
    api: Api, world: World, query: str, hours: list[int]
):
    """Both ends are inclusive, several outcomes are joined by commas, and filters narrow each other."""
    job = await api.create()
    await fill(world, job["id"])
    answer = await api.get(URL(f"/v1/jobs/{job['id']}/occurrences?{query}", encoded=True))
    assert answer.status == 200
    assert [datetime.fromisoformat(one["due_at"]).hour for one in answer.body["results"]] == hours


@pytest.mark.parametrize(
    ("query", "field"),
    [("outcome=lost", "outcome"), ("outcome=ran,", "outcome"), ("outcome=RAN", "outcome"), ("from=yesterday", "from"),
     ("to=2026-13-01T00:00:00Z", "to"), ("from=1767225600", "from"),
     ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from")],
)  # fmt: skip
async def test_a_filter_of_the_ledger_that_makes_no_sense_is_refused(api: Api, query: str, field: str):
    """The 400 names the parameter, its value and what to write."""
    job = await api.create()
    answer = await api.get(f"/v1/jobs/{job['id']}/occurrences?{query}")
    assert answer.status == 400
    check_problem(answer)
    assert set(answer.errors()) == {field}
