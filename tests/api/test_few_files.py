"""A daemon that the system grants few open files: clients cannot take all of them."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

from tests.api.test_hardening import line
from tests.api.test_tls import daemon

FILES = 200


async def test_connections_leave_a_daemon_with_few_files_those_that_runs_need(tmp_path: Path):
    """It takes half as many as it has files, and refuses others instead of letting them wait."""
    async with AsyncExitStack() as opened:
        url, process = await opened.enter_async_context(daemon(tmp_path, files=FILES))
        port = int(url.rpartition(":")[2])
        for _ in range(FILES // 2):
            await opened.enter_async_context(line(port))
        async with line(port) as refused:
            head = await refused.head()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after" in head.lower()
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < FILES  # noqa: PTH208 - no disk is waited for
