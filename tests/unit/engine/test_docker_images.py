"""What is told of a pull."""

from __future__ import annotations

import re

import pytest

from scheduler.engine.docker_images import PullProgress
from scheduler.engine.errors import ImagePullError


def test_thousands_of_ticks_become_a_line_every_two_seconds() -> None:
    """Each with layers and megabytes done, and the engine's own first and last lines besides."""
    now = 0.0
    progress = PullProgress(lambda: now)
    lines = [progress.feed({"status": "Pulling from library/busybox", "id": "1.36"})]
    for tick in range(1000):
        now += 0.01
        lines.append(
            progress.feed(
                {
                    "status": "Downloading",
                    "id": f"layer{tick % 4}",
                    "progressDetail": {"current": tick * 10_000, "total": 10_000_000},
                }
            )
        )
    lines.extend(
        progress.feed({"status": "Pull complete", "id": f"layer{layer}", "progressDetail": {}})
        for layer in range(4)
    )
    now += 5
    lines.append(progress.feed({"status": "Already exists", "id": "layer4"}))
    lines.append(progress.feed({"status": "Status: Downloaded newer image for busybox:1.36"}))
    told = [line for line in lines if line]
    assert told[0] == "Pulling from library/busybox"
    assert re.fullmatch(r"0 of 4 layers done, [78]\.\d of 40\.0 MB downloaded", told[1])
    assert told[-2] == "5 of 5 layers done, 40.0 of 40.0 MB downloaded"
    assert told[-1] == "Status: Downloaded newer image for busybox:1.36"
    assert 6 <= len(told) <= 8


def test_an_error_among_the_messages_is_a_failed_pull() -> None:
    """With the registry's words."""
    with pytest.raises(ImagePullError, match="toomanyrequests"):
        PullProgress().feed({"errorDetail": {"message": "x"}, "error": "toomanyrequests: slow down"})


def test_a_layer_that_waits_or_is_tried_again_makes_no_progress() -> None:
    """The engine says so every second; only bytes and new states count."""
    progress = PullProgress()
    assert progress.has_moved
    here = {"status": "Downloading", "id": "a", "progressDetail": {"current": 5, "total": 10}}
    progress.feed(here)
    assert progress.has_moved
    for _ in range(5):
        progress.feed(here)
        progress.feed({"status": "Retrying in 5 seconds", "id": "a"})
        progress.feed({"status": "Waiting", "id": "b"})
        assert not progress.has_moved
    progress.feed({"status": "Downloading", "id": "a", "progressDetail": {"current": 6, "total": 10}})
    assert progress.has_moved
