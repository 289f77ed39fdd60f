"""The least that taking down a container's output can be: attach, frame, compress, one SQLite table.

The reference of `bench_logs`: no times, no lines, no recovery, no other runs beside it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import aiohttp
import zstandard
from docker.api.client import APIClient

CHUNK_BYTES = 256 * 1024


async def take_down(
    client: APIClient, socket: str, image: str, command: list[str], path: Path
) -> tuple[float, int]:
    """Run a container and store what it prints.

    Args:
        client: makes and starts the container, and removes it.
        socket: the engine's.
        image: what to run.
        command: likewise.
        path: the database to make.

    Returns:
        the seconds from the start to all committed, and how many bytes that were.
    """
    host = client.create_host_config(log_config={"Type": "local", "Config": {"max-size": "100m"}})
    container = client.create_container(image, command=command, host_config=host)["Id"]
    try:
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("CREATE TABLE chunks (seq INTEGER PRIMARY KEY, data BLOB)")
            async with aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(socket), timeout=aiohttp.ClientTimeout(None)
            ) as session:
                address = f"http://engine/containers/{container}/attach?stream=1&stdout=1&stderr=1"
                async with session.post(address) as answer:
                    began = time.perf_counter()
                    starting = asyncio.create_task(asyncio.to_thread(client.start, container))
                    size = await _store(answer, database)
                    took = time.perf_counter() - began
                    await starting
        return took, size
    finally:
        client.remove_container(container, force=True)


async def _store(answer: aiohttp.ClientResponse, database: sqlite3.Connection) -> int:
    compressor = zstandard.ZstdCompressor(level=3)
    pieces: list[bytes] = []
    gathered = total = 0
    rest = b""
    while data := await answer.content.readany():
        data, position = rest + data, 0
        while len(data) - position >= 8:
            stop = position + 8 + int.from_bytes(data[position + 4 : position + 8])
            if stop > len(data):
                break
            pieces.append(data[position + 8 : stop])
            gathered += stop - position - 8
            position = stop
        rest = data[position:]
        if gathered >= CHUNK_BYTES:
            packed = compressor.compress(b"".join(pieces))
            await asyncio.to_thread(database.execute, "INSERT INTO chunks (data) VALUES (?)", (packed,))
            total += gathered
            pieces, gathered = [], 0
    database.execute("INSERT INTO chunks (data) VALUES (?)", (compressor.compress(b"".join(pieces)),))
    return total + gathered
