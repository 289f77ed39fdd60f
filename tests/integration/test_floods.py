"""Runs that print much, at once: nothing lost, nothing twice, nothing late, and a daemon that stays small."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.conftest import MakeTimeball
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

CONTAINERS = 20
#: What the daemon may have in memory at most, in MB, whatever is printed.
MOST_MEMORY = 300
#: A region in which all of them run at once; how fast they print is left to them.
WIDE = (
    "[regions.WIDE]\nurl = '{url}'\ncpus = 64\nmemory_mib = 65536\n[sizes.FLOOD]\ncpus = 1\nmemory_mib = 16\n"
)


def both_streams(count: int) -> list[str]:
    """A command that prints so many numbered lines to each of the two streams, in turns."""
    line = "line %d of this stream, long enough to be an ordinary one"
    return script(
        f'awk \'BEGIN {{ for (i = 0; i < {count}; i++) {{ printf "{line}\\n", i; '
        f'printf "{line}\\n", i > "/dev/stderr" }} }}\''
    )


def numbered(count: int) -> bytes:
    """What each stream is to have then."""
    return b"".join(b"line %d of this stream, long enough to be an ordinary one\n" % n for n in range(count))


def peak_megabytes(pid: int) -> float:
    """The most memory that a process has had resident."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3


async def text_of(timeball: Timeball, job: int, one: str, stream: str) -> bytes:
    """What a run printed to a stream, as it was printed."""
    path = f"/v1/jobs/{job}/execs/{one}/logs?stream={stream}&format=text"
    status, raw = await timeball.send("GET", path)
    assert status == 200
    return raw


async def check_exactness(timeball: Timeball, count: int) -> None:
    """Every line once, in the order of its stream, in the right one; times never going back, within the run's own."""
    job, run = await timeball.run(both_streams(count), resource_size="M")
    assert run["status"] == "S", run
    _, raw = await timeball.send("GET", f"/v1/jobs/{job}/execs/{run['id']}/logs?format=ndjson")
    expected = {"stdout": 0, "stderr": 0}
    last = ""
    for text in raw.splitlines():
        line = json.loads(text)
        assert line["timestamp"] >= last
        last = line["timestamp"]
        if line["stream"] != "system":
            number = expected[line["stream"]]
            assert line["message"] == f"line {number} of this stream, long enough to be an ordinary one"
            expected[line["stream"]] += 1
    assert expected == {"stdout": count, "stderr": count}
    assert last >= datetime.fromisoformat(run["started_at"]).isoformat()
    assert peak_megabytes(timeball.pid) < MOST_MEMORY


@pytest.mark.promise("output")
async def test_every_line_of_both_streams_is_there_once_and_in_order(own_timeball: Timeball) -> None:
    """A hundred thousand to each."""
    await check_exactness(own_timeball, 100_000)


@pytest.mark.slow
async def test_every_one_of_a_million_lines_is_there_once_and_in_order(own_timeball: Timeball) -> None:
    """To each of both streams, and reading them all takes little memory."""
    await check_exactness(own_timeball, 1_000_000)


async def test_a_log_is_complete_when_the_status_is_final(own_timeball: Timeball) -> None:
    """Asked without a pause, and read once, the moment the status has changed."""
    count = 3000
    job = await own_timeball.create(
        [*both_streams(count)[:2], both_streams(count)[2] + "; printf 'no newline'; printf 'at all' >&2"],
        resource_size="XS",
    )

    async def hammer() -> None:
        one = await own_timeball.trigger(job)
        while (await own_timeball.exec(job, one))["status"] not in "SFC":  # noqa: ASYNC110
            await asyncio.sleep(0)  # ask again at once
        stdout, stderr = await asyncio.gather(
            text_of(own_timeball, job, one, "stdout"), text_of(own_timeball, job, one, "stderr")
        )
        is_whole = stdout == numbered(count) + b"no newline", stderr == numbered(count) + b"at all"
        assert is_whole == (True, True)
        # And it is that for good.
        assert (await own_timeball.logs(job, one))[-1]["stream"] != "system"

    await asyncio.gather(*(hammer() for _ in range(12)))


async def flood(timeball: Timeball, count: int) -> None:
    """Twenty containers at once: all that they print is there, the daemon stays small, and it answers meanwhile."""
    job = await timeball.create(both_streams(count), resource_size="FLOOD", region_name="WIDE")
    runs = [await timeball.trigger(job) for _ in range(CONTAINERS)]
    await timeball.until_all_ended(job, count=CONTAINERS, seconds=600)
    assert peak_megabytes(timeball.pid) < MOST_MEMORY
    expected = numbered(count)
    for one in runs:
        for stream in ("stdout", "stderr"):
            is_whole = await text_of(timeball, job, one, stream) == expected
            assert is_whole, (one, stream)
    assert peak_megabytes(timeball.pid) < MOST_MEMORY


@pytest_asyncio.fixture(loop_scope="session")
async def wide(make_timeball: MakeTimeball, engine_url: str) -> Timeball:
    """A daemon with a region in which twenty containers run at once."""
    return await make_timeball(config=WIDE.format(url=engine_url))


@pytest.mark.promise("output")
async def test_twenty_containers_that_print_at_once_lose_nothing(wide: Timeball) -> None:
    """Ten thousand lines to each stream of each."""
    await flood(wide, 10_000)


@pytest.mark.slow
async def test_twenty_containers_that_print_for_long_lose_nothing(wide: Timeball) -> None:
    """A quarter of a million lines to each stream of each, which takes more than ten seconds."""
    await flood(wide, 250_000)


async def test_a_run_beyond_its_limit_ends_well_and_keeps_its_end(own_timeball: Timeball) -> None:
    """Across a kill of the daemon in the middle of what is not kept; nothing is stored twice."""
    limit, count = 100_000, 40_000
    text = (
        f"{both_streams(count)[2]}; sleep 3; echo halfway; "
        f"{both_streams(count)[2]}; echo the last word; echo the last error >&2; exit 3"
    )
    job = await own_timeball.create(script(text), resource_size="M", log_limit_bytes=limit)
    one = await own_timeball.trigger(job)
    words = f"The log has reached its limit of {limit:,} bytes."
    await until(
        lambda: own_timeball.logs(job, one, stream="system"),
        lambda seen: any(words in line["message"] for line in seen),
    )
    await own_timeball.kill()
    await own_timeball.start()
    run = await own_timeball.until_ended(job, one)
    assert (run["status"], run["exit_code"]) == ("F", 3)

    stdout, stderr = (
        await text_of(own_timeball, job, one, "stdout"),
        await text_of(own_timeball, job, one, "stderr"),
    )
    # Which of the streams comes first is the engine's to say; what came of each before the limit is its beginning.
    every = await own_timeball.logs(job, one)
    reached = next(index for index, line in enumerate(every) if words in line["message"])
    beginnings = [
        "\n".join(line["message"] for line in every[:reached] if line["stream"] == stream)
        for stream in ("stdout", "stderr")
    ]
    assert all(numbered(count).startswith(beginning.encode()) for beginning in beginnings)
    assert sum(map(len, beginnings)) > 10_000
    assert stdout.endswith(b"the last word\n")
    assert stderr.endswith(b"the last error\n")
    assert limit <= len(stdout) + len(stderr) <= limit + 64 * 1024
    lines = await own_timeball.logs(job, one, stream="system")
    assert [words in line["message"] for line in lines].count(True) == 1
    printed = 4 * len(numbered(count)) + len(b"halfway\nthe last word\nthe last error\n")
    missing = printed - len(stdout) - len(stderr)
    assert lines[-1]["message"] == f"{missing:,} bytes of output are missing here."


async def test_a_progress_bar_is_a_handful_of_short_lines(timeball: Timeball) -> None:
    """It prints a quarter of a megabyte without a newline; all of it is there as text."""
    bar = "awk 'BEGIN { for (i = 0; i <= 10000; i++) printf \"\\r%5d of 10000 done\", i }'; echo; echo end"
    job, run = await timeball.run(script(bar))
    messages = await timeball.lines(job, run["id"])
    assert messages[-2:] == ["10000 of 10000 done", "end"]
    assert max(map(len, messages)) < 40
    raw = await text_of(timeball, job, run["id"], "stdout")
    assert raw == b"".join(b"\r%5d of 10000 done" % number for number in range(10_001)) + b"\nend\n"


async def test_odd_bytes_and_lines_in_pieces_come_out_whole(timeball: Timeball) -> None:
    """NUL bytes, and lines of both streams that are printed bit by bit, each between bits of the other."""
    job, run = await timeball.run(
        script(
            "for i in 1 2 3; do printf 'out '; printf 'err ' >&2; sleep 0.05; "
            'printf "$i\\0"; printf "$i\\377" >&2; '
            "sleep 0.05; echo; echo >&2; done; printf 'last out'; printf 'last err' >&2"
        )
    )
    one = run["id"]
    assert await timeball.lines(job, one) == ["out 1\0", "out 2\0", "out 3\0", "last out"]
    assert await timeball.lines(job, one, "stderr") == [
        f"err {n}\N{REPLACEMENT CHARACTER}" for n in (1, 2, 3)
    ] + ["last err"]
    assert await text_of(timeball, job, one, "stderr") == b"err 1\xff\nerr 2\xff\nerr 3\xff\nlast err"
