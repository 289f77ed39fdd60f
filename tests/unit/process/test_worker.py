"""An executor with one thread: the order of its calls, what it does with errors, and how it ends."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from scheduler.process.worker import Worker


def test_calls_run_one_after_another_in_their_order():
    """All of them on the same thread."""
    worker, done = Worker("worker"), list[tuple[int, str]]()
    calls = [worker.submit(lambda n: done.append((n, threading.current_thread().name)), n) for n in range(50)]
    for call in calls:
        call.result(60)
    assert done == [(number, "worker") for number in range(50)]
    worker.shutdown()


def test_an_error_reaches_the_caller_and_the_next_call_runs():
    """Even one that would end a thread."""
    worker = Worker("worker")
    failing = worker.submit(int, "x")
    leaving = worker.submit(sys.exit, 3)
    assert worker.submit(int, "7", base=8).result(60) == 7
    assert isinstance(failing.exception(60), ValueError)
    assert isinstance(leaving.exception(60), SystemExit)
    worker.shutdown()


def test_a_shut_down_worker_finishes_its_calls_and_takes_no_more():
    """The call in progress and the one behind it."""
    worker, go_on = Worker("worker"), threading.Event()
    calls = [worker.submit(go_on.wait, 60), worker.submit(int, "7")]
    worker.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="worker has been shut down"):
        worker.submit(int)
    go_on.set()
    worker.shutdown()
    assert [call.result(60) for call in calls] == [True, 7]


def test_calls_that_have_not_begun_can_be_cancelled():
    """By their callers, and all at once."""
    worker, go_on, begun = Worker("worker"), threading.Event(), threading.Event()
    first = worker.submit(lambda: begun.set() or go_on.wait(60))
    assert begun.wait(60)
    second, third = worker.submit(int), worker.submit(int)
    assert second.cancel()
    worker.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    worker.shutdown()
    assert first.result(60)
    assert second.cancelled()
    assert third.cancelled()


def test_a_worker_that_is_never_used_has_no_thread():
    """A simulation runs the calls itself."""
    before = threading.active_count()
    Worker("worker").shutdown()
    assert threading.active_count() == before


def test_a_call_that_hangs_does_not_keep_the_process_alive():
    """Not when the interpreter exits."""
    program = (
        "import threading\n"
        "from scheduler.process.worker import Worker\n"
        "begun = threading.Event()\n"
        "Worker('worker').submit(lambda: begun.set() or threading.Event().wait())\n"
        "begun.wait()\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
