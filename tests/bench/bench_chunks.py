"""How fast logs are taken down and read: 1,000,000 lines of 79 bytes, no engine in between.

`python -m tests.bench.bench_chunks` prints a table; pytest (with ``--bench``) checks the ratios. The reference is
the machine itself: the same bytes packed with zstd and written to a plain file with one sync, and for reads, the
whole log read. A range and a tail must cost what they return, not what the log holds.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import sqlalchemy as sa
import zstandard

from api.schemas.lines import json_lines
from scheduler.domain.stream import Stream
from scheduler.logs.reader import LogQuery
from scheduler.store.tables import log_chunks
from tests.bench.figures import Figure
from tests.bench.ordinary import KINDS, ordinary_log
from tests.unit.logs.scene import EXEC, NOON, LogScene

pytestmark = pytest.mark.bench

LINES = 1_000_000
LINES_A_SECOND = 100_000
LINES_A_READ = 400


def line(number: int) -> bytes:
    """An ordinary line: a number, a time, a level, a request; 79 bytes with its newline."""
    moment = f"12:{number // 60000 % 60:02d}:{number // 1000 % 60:02d}.{number * 17 % 1000:03d}"
    request = f"GET /v1/items/{number * 7919 % 997} 200 in {number * 31 % 89} ms for 10.0.{number % 7}.{number % 51}"
    return f"{number:08d} {moment} INFO {request}".encode().ljust(78)[:78] + b"\n"


def blocks(count: int) -> list[bytes]:
    """The lines as they come from the engine, some 32 KiB a read."""
    return [
        b"".join(line(number) for number in range(begin, begin + LINES_A_READ))
        for begin in range(0, count, LINES_A_READ)
    ]


def plain_file(path: Path, printed: list[bytes]) -> float:
    """Seconds to pack the same bytes and write them to a file with one sync."""
    began = time.perf_counter()
    compressor = zstandard.ZstdCompressor(level=3)
    with path.open("wb") as file:
        for begin in range(0, len(printed), 8):
            file.write(compressor.compress(b"".join(printed[begin : begin + 8])))
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began


async def take_down(scene: LogScene, printed: list[bytes]) -> tuple[float, float]:
    """Seconds from the first byte to all stored, and the longest that the event loop was held up."""
    running = asyncio.create_task(scene.hub.run())
    log = await scene.hub.open(EXEC)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    for number, data in enumerate(printed):
        scene.clock.moment = NOON + timedelta(seconds=number * LINES_A_READ / LINES_A_SECOND)
        log.add(Stream.STDOUT, data)
        await log.room()
        if number % 8 == 0:
            await asyncio.sleep(0)  # a real stream waits for its socket now and then
    await log.flush()
    seconds = time.perf_counter() - began
    watching.cancel()
    running.cancel()
    await scene.hub.close(EXEC)
    return seconds, longest


async def time_of(scene: LogScene, expected: int, repeat: int = 1, **query: Any) -> float:
    """Median seconds of a read, its lines made into JSON."""
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        count = 0
        async for batch in scene.reader.read(EXEC, LogQuery(**query)):
            count += len("\n".join(json_lines(batch)).splitlines())
        seconds.append(time.perf_counter() - began)
        assert count == expected
    return median(seconds)


async def measure(path: Path, lines: int = LINES) -> dict[str, float]:
    """All figures, in seconds or bytes."""
    printed = blocks(lines)
    figures: dict[str, float] = {"raw bytes": sum(map(len, printed))}
    figures["plain file"] = plain_file(path / "plain", printed)
    scene = LogScene(path)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["take down"], figures["event loop held up"] = await take_down(scene, printed)
    del printed
    figures["stored bytes"] = await scene.database.read(
        lambda c: c.execute(sa.select(sa.func.sum(sa.func.length(log_chunks.c.data)))).scalar_one()
    )
    middle = NOON + timedelta(seconds=lines // LINES_A_SECOND // 2)
    figures["read all as JSON"] = await time_of(scene, lines)
    figures["memory grown (KiB)"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    # A millisecond of printing: one block, so that what is measured is the finding.
    brief = {"start": middle, "end": middle}
    figures["one block by time"] = await time_of(scene, LINES_A_READ, 50, **brief)
    second = {"start": middle, "end": middle + timedelta(seconds=1, microseconds=-1)}
    figures["one second"] = await time_of(scene, LINES_A_SECOND, 5, **second)
    figures["last 100 lines"] = await time_of(scene, 100, 50, order="desc", limit=100)
    figures["first 100 lines"] = await time_of(scene, 100, 50, limit=100)
    await scene.database.close()
    return figures


async def test_taking_down_costs_little_more_than_packing_and_writing(tmp_path: Path) -> None:
    """The database, the frames and the counting come on top of zstd and a disk, and must stay small."""
    figures = await measure(tmp_path, LINES // 2)
    assert figures["take down"] < 5 * figures["plain file"]
    assert figures["stored bytes"] < 0.2 * figures["raw bytes"]
    assert figures["read all as JSON"] > 100 * figures["one block by time"]
    assert figures["read all as JSON"] > 100 * figures["last 100 lines"]


async def test_a_range_out_of_a_longer_log_costs_the_same(tmp_path: Path) -> None:
    """What is found by the index does not grow with the log: 100,000 lines beside 10,000,000."""
    scenes = []
    some = blocks(LINES // 10)
    for times in (1, 100):
        path = tmp_path / str(times)
        path.mkdir()
        scenes.append(LogScene(path))
        await take_down(scenes[-1], some * times)
    brief = {"start": NOON + timedelta(milliseconds=500), "end": NOON + timedelta(milliseconds=500)}
    # In turns, so that whatever else the machine does falls on both alike.
    rounds = [[await time_of(scene, LINES_A_READ, 5, **brief) for scene in scenes] for _ in range(20)]
    short, long = (median(costs) for costs in zip(*rounds, strict=True))
    detail = f"{long * 1e3:.2f} ms beside {short * 1e3:.2f} ms"
    figure = Figure("a range out of 10,000,000 lines / out of 100,000", long / short, 1.5, "×", detail)
    figure.show()
    assert figure.is_met
    for scene in scenes:
        await scene.database.close()


async def test_ordinary_logs_take_a_seventh_of_their_bytes(tmp_path: Path) -> None:
    """Four kinds in equal parts, 8 MB of each, taken down as they come: what the table's rows have in all."""
    raw = stored = 0
    for kind in KINDS:
        path = tmp_path / kind.replace(" ", "-")
        path.mkdir()
        scene = LogScene(path)
        log = ordinary_log(kind, 8_000_000)
        await take_down(scene, [log[begin : begin + 32_000] for begin in range(0, len(log), 32_000)])
        size = await scene.database.read(
            lambda c: c.execute(sa.select(sa.func.sum(sa.func.length(log_chunks.c.data)))).scalar_one()
        )
        await scene.database.close()
        Figure(f"stored of a log ({kind})", size / len(log) * 100, 25, "%").show()
        raw, stored = raw + len(log), stored + size
    figure = Figure("stored of ordinary logs", stored / raw * 100, 15, "%")
    figure.show()
    assert figure.is_met


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as path:
        figures = asyncio.run(measure(Path(path)))
    for name, figure in figures.items():
        shown = f"{figure:,.0f}" if figure > 1000 or "memory" in name else f"{figure * 1000:,.2f} ms"
        sys.stdout.write(f"{name:25} {shown:>15}\n")
    for name, ratio in {
        "take down / plain file": figures["take down"] / figures["plain file"],
        "stored / raw": figures["stored bytes"] / figures["raw bytes"],
        "read all / one block": figures["read all as JSON"] / figures["one block by time"],
        "read all / last 100": figures["read all as JSON"] / figures["last 100 lines"],
    }.items():
        sys.stdout.write(f"{name:25} {ratio:>15,.2f}\n")


if __name__ == "__main__":
    main()
