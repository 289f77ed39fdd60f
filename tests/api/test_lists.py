"""Lists: pages, the addresses beside them, filters, and queries that are refused."""

from __future__ import annotations

import pytest
from yarl import URL

from tests.api.conftest import Api, check_problem


async def test_a_list_without_jobs_is_an_empty_page(api: Api):
    """No jobs: count 0, nothing before, nothing after."""
    answer = await api.get("/v1/jobs")
    assert (answer.status, answer.body) == (200, {"count": 0, "previous": None, "next": None, "results": []})


async def test_a_page_has_twenty_entries_by_default_in_the_order_they_were_made(api: Api):
    """Following `next` from the first page sees every job once, oldest first; `previous` leads back."""
    made = [(await api.create(f"job {number}"))["id"] for number in range(45)]
    seen: list[int] = []
    pages: list[str] = []
    url: str | None = "/v1/jobs"
    while url is not None:
        answer = await api.get(URL(url).relative() if "://" in url else url)
        assert answer.status == 200
        assert answer.body["count"] == 45
        seen += [job["id"] for job in answer.body["results"]]
        pages.append(url)
        url = answer.body["next"]
    assert seen == made
    assert len(pages) == 3
    back = answer.body["previous"]
    assert back == pages[1]
    assert (await api.get(URL(back).relative())).body["previous"] == str(
        api.client.make_url("/v1/jobs?page=1")
    )


async def test_the_pages_beside_keep_the_other_parameters(api: Api):
    """`previous` and `next` are absolute and differ from the request in `page` alone, escapes included."""
    for number in range(5):
        await api.create(f"job {number}", namespace="研发 部".replace(" ", "-"))
    answer = await api.get("/v1/jobs?namespace=研发-部&page_size=2&page=2")
    assert answer.status == 200
    assert len(answer.body["results"]) == 2
    for name, page in (("previous", "1"), ("next", "3")):
        url = URL(answer.body[name])
        assert url.origin() == api.client.make_url("/").origin()
        assert dict(url.query) == {"namespace": "研发-部", "page_size": "2", "page": page}
        assert answer.body[name].isascii()
    assert (await api.get(URL(answer.body["next"]).relative())).body["next"] is None


async def test_a_page_may_have_a_thousand_entries(api: Api):
    """1000 is the largest page size."""
    await api.create()
    assert (await api.get("/v1/jobs?page_size=1000")).body["count"] == 1


async def test_an_empty_parameter_counts_as_not_given(api: Api):
    """`?page=&namespace=` is the same as no query at all."""
    job = await api.create()
    assert (await api.get("/v1/jobs?page=&page_size=&namespace=")).body["results"] == [job]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/1/execs", "/v1/jobs/1/occurrences"])
async def test_a_page_beyond_the_end_is_not_found_and_named(api: Api, path: str):
    """The 404 names the page asked for and the last one there is."""
    await api.create()
    answer = await api.get(f"{path}?page=7")
    assert answer.status == 404
    check_problem(answer)
    assert "page=7" in answer.body["detail"]
    assert "The last page is 1" in answer.body["detail"]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/1/execs", "/v1/jobs/1/occurrences"])
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("page", "0"),
        ("page", "-1"),
        ("page", "one"),
        ("page", "1.0"),
        ("page", "+1"),
        ("page", "1e3"),
        ("page", "١"),
        ("page", "9" * 30),
        ("page", "9" * 5000),
        ("page_size", "0"),
        ("page_size", "1001"),
        ("page_size", "all"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(api: Api, path: str, parameter: str, value: str):
    """The 400 names the parameter, the value and the range."""
    await api.create()
    answer = await api.get(URL(path).with_query({parameter: value}))
    assert answer.status == 400
    entry = answer.errors()[parameter]
    assert entry["value"] == value or value.startswith(entry["value"].removesuffix("…"))
    assert entry["remedy"].startswith("use 1 to ")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/jobs?naemspace=x", "namespace"),
        ("/v1/jobs/1?verbose=1", "remove it"),
        ("/v1/jobs/1/execs?state=F", "status"),
        ("/v1/jobs/1/occurrences?until=x", "outcome"),
        ("/v1/jobs/1/schedule?page=1", "count"),
        ("/v1/schedules/preview?tz=UTC", "timezone"),
    ],
)
async def test_a_parameter_that_does_not_exist_is_refused_with_those_that_do(api: Api, path: str, known: str):
    """A filter that is misspelt must not answer everything."""
    await api.create()
    answer = await api.get(path)
    assert answer.status == 400
    (entry,) = answer.errors().values()
    assert entry["message"] == "is not a parameter of this request"
    assert known in entry["remedy"]


async def test_a_parameter_given_twice_is_refused(api: Api):
    """Which of the two was meant, nobody could tell."""
    answer = await api.get("/v1/jobs?namespace=a&namespace=b")
    assert answer.status == 400
    assert answer.errors()["namespace"]["message"] == "is given twice"


async def test_without_a_namespace_the_administrator_sees_all(api: Api):
    """The filter narrows the list to one namespace; one that does not exist has no jobs."""
    one = await api.create("one", namespace="a")
    two = await api.create("two", namespace="b")
    assert (await api.get("/v1/jobs")).body["results"] == [one, two]
    assert (await api.get("/v1/jobs?namespace=b")).body["results"] == [two]
    assert (await api.get("/v1/jobs?namespace=c")).body["count"] == 0


@pytest.mark.parametrize("namespace", ["a%00b", "a%20b", "%ff", "a/b", "-x", "x" * 101])
async def test_a_namespace_that_cannot_exist_is_refused_as_a_filter(api: Api, namespace: str):
    """What no namespace can be called is a mistake, and says so."""
    answer = await api.get(URL(f"/v1/jobs?namespace={namespace}", encoded=True))
    assert answer.status == 400
    assert answer.errors()["namespace"]["message"] == "is not a valid name of a namespace"


async def test_execs_are_paged_newest_first(api: Api):
    """The first page has the newest runs."""
    job = await api.create(command="true")
    made = [(await api.trigger(job["id"]))["id"] for _ in range(5)]
    first = (await api.get(f"/v1/jobs/{job['id']}/execs?page_size=2")).body
    last = (await api.get(f"/v1/jobs/{job['id']}/execs?page_size=2&page=3")).body
    assert [one["id"] for one in first["results"] + last["results"]] == [made[4], made[3], made[0]]
    assert first["next"] == str(api.client.make_url(f"/v1/jobs/{job['id']}/execs?page_size=2&page=2"))


async def test_a_job_s_execs_are_narrowed_to_statuses(api: Api):
    """One, or several with commas or as several parameters; what is no status is refused with those that are."""
    job = await api.create(command="true")
    ended = (await api.run(job["id"]))["id"]
    failed = (await api.run(job["id"], {"command": "false"}))["id"]
    path = f"/v1/jobs/{job['id']}/execs"

    async def listed(query: str) -> list[str]:
        return [one["id"] for one in (await api.get(f"{path}?{query}")).body["results"]]

    assert await listed("status=F") == [failed]
    assert await listed("status=S,F") == await listed("status=S&status=F") == await listed("status=")
    assert await listed("status=S&page_size=1") == [ended]
    answer = await api.get(f"{path}?status=failed")
    assert answer.status == 400
    assert "F (failed)" in answer.errors()["status"]["remedy"]
