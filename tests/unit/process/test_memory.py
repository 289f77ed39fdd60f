"""What was freed is given back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from scheduler.process import memory
from scheduler.settings.settings import Settings

PROGRAM = """
    import threading
    from pathlib import Path
    from scheduler.process import memory

    def resident():
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])

    assert memory.keep_small()
    before = resident()

    def work():
        kept = [bytes(10_000) + b"x" * 10_000 for _ in range(2_000)]
        gate.wait()

    gate = threading.Barrier(6)
    threads = [threading.Thread(target=work) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    memory.give_back()
    print(resident() - before)
"""


@pytest.mark.skipif(memory._library() is None, reason="this C library is not glibc")
def test_memory_that_six_threads_have_freed_goes_back_to_the_system() -> None:
    """They had 240 MB; a tenth of that may stay."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert int(done.stdout) < 24_000


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fails there."""
    monkeypatch.setattr(memory, "_library", lambda: None)
    assert not memory.keep_small()
    memory.give_back()


def test_what_only_some_daemons_use_is_not_loaded_for_all() -> None:
    """Each of these takes megabytes, and an idle daemon is to be small."""
    dear = {
        "sqlalchemy.dialects.postgresql",
        "alembic",
        "argon2",
        "cryptography",
        "re2",
        "paramiko",
        "aiosmtplib",
        "rich",
        "pygments",
        "charset_normalizer",
        "sqlalchemy.orm",
    }
    program = (
        "import sys; from scheduler.process import light_imports; light_imports.load(); "
        "import api.server.serve; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert set(done.stdout.split()).isdisjoint(dear)


def test_patterns_of_settings_are_not_compiled_to_megabytes() -> None:
    """A name of up to 100 letters of any script took 9 MB as an automaton."""
    assert Settings.model_config["regex_engine"] == "python-re"
