"""What the daemon says about itself: no line of it can be written by somebody else."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from api.server.logging import escaped

FORGED = "x\n2026-01-01 00:00:00 [info     ] daemon.stopped\r\n\x1b[2J\x00\x85\u2028\u202e\u200b\udcffend"
PROGRAM = """
import logging, structlog, sys
from api.server.logging import configure_logging
configure_logging("info", sys.argv[1])
forged = eval(sys.argv[2])
log = structlog.get_logger()
log.warning("first", name=forged, nested={forged: [forged]}, **{"odd": ValueError(forged)})
try:
    raise ValueError(forged)
except ValueError:
    log.exception("second", path=forged)
    logging.getLogger("library").exception("third %s", forged)
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_what_comes_from_outside_cannot_look_like_a_line_of_ours(style: str):
    """Line breaks, terminal sequences and invisible characters are written out; tracebacks are indented."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, style, ascii(FORGED)], capture_output=True, check=True
    )
    text = done.stderr.decode()
    assert not set(text) & set("\x1b\x00\r\x85\u2028\u202e\u200b")
    lines = text.removesuffix("\n").split("\n")
    if style == "json":
        assert [json.loads(line)["event"].split()[0] for line in lines] == ["first", "second", "third"]
        return
    ours = [line for line in lines if not line.startswith("    ")]
    assert [word in line for word, line in zip(("first", "second", "third"), ours, strict=True)] == [True] * 3


def test_a_text_without_such_characters_stays_as_it_is():
    """Other scripts are text like any other."""
    assert escaped("任务 grüßt") == "任务 grüßt"
    assert escaped("a\tb\n") == "a\\x09b\\x0a"
