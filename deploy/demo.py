"""Demonstrates Timeball: starts a daemon, follows three runs of a job, and reads its logs by time range.

deploy/quickstart runs this in the project's environment, after it has provided an engine and an image. It uses the
daemon over HTTP like any other client, and stops the daemon that it has started when it exits.
"""

import argparse
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

HOST = "127.0.0.1"
DEFAULT_PORT, LAST_PORT = 8601, 8650
IMAGE, TAG = "timeball/busybox", "1"
RUNS, STEP_SECONDS, LEAD_SECONDS = 3, 5, 2
START_SECONDS, STOP_SECONDS, DEMONSTRATION_SECONDS = 30, 40, 120
POLL_SECONDS = 0.2

GREETING = "Hello"
FAREWELL = "Done."
ERROR_LINE = "This line went to stderr, which is stored separately."
COMMAND = f"""
limit=$(cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null | head -n 1)
echo "$GREETING from container $(hostname), $(uname -s) $(uname -r)."
echo "It is $(date -u '+%H:%M:%S') UTC, and I can use $((${{limit:-0}} / 1048576)) MiB of memory."
sleep 1
echo "{ERROR_LINE}" >&2
sleep 0.2  # the streams reach the engine on two pipes, so lines written at the same time can be reordered
echo "{FAREWELL}"
"""
STATUS_WORDS = {"W": "waiting", "R": "running", "S": "succeeded", "F": "failed", "C": "cancelled"}

Json = dict[str, Any]


class DemonstrationError(Exception):
    """The demonstration failed. The first argument is the error, the others are the fix."""


class Interrupted(BaseException):
    """Ctrl-C, or another request to stop."""


def say(line: str = "") -> None:
    """Prints a line immediately, even into a pipe."""
    print(line, flush=True)


def clock(moment: datetime) -> str:
    """A time for people: UTC, to the millisecond."""
    return moment.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]


def shown(path: Path) -> str:
    """The path relative to the current directory if possible, quoted for a shell."""
    with contextlib.suppress(ValueError):
        return shlex.quote(str(path.relative_to(Path.cwd())))
    return shlex.quote(str(path))


def choose_port(wanted: int | None) -> int:
    """The port to listen on: the given one, or the first free one from 8601 on."""

    def is_free(port: int) -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
        return True

    if wanted is not None:
        if not is_free(wanted):
            raise DemonstrationError(f"Port {wanted} is in use.", "Choose another port, or leave out --port.")
        return wanted
    for port in range(DEFAULT_PORT, LAST_PORT + 1):
        if is_free(port):
            if port != DEFAULT_PORT:
                say(f"· Port {DEFAULT_PORT} is in use; using {port}")
            return port
    raise DemonstrationError(
        f"No port from {DEFAULT_PORT} to {LAST_PORT} is free.", "Choose a port with --port."
    )


class Daemon:
    """A `timeball serve` process, from start to stop."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.log = data_dir / "daemon.log"
        self.token_file = data_dir / "admin.token"
        self.url = ""
        self._lock: TextIO | None = None
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        # A proxy from the environment cannot reach this machine's own address.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def claim_data(self) -> None:
        """Locks the data directory, or raises an error if another daemon is using it."""
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self.data_dir / "quickstart.lock").open("a+")
        except OSError as error:
            raise DemonstrationError(
                f"Cannot use {self.data_dir}: {error.strerror}.",
                "Choose another directory with --data-dir.",
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            running = self._lock.read().strip() or "it is starting"
            raise DemonstrationError(
                f"A quickstart daemon is already using this data directory ({running}).",
                "Use that daemon, stop it (Ctrl-C in its terminal, or kill its process), or start another one",
                "with --data-dir DIR.",
            ) from None

    def start(self, wanted_port: int | None) -> None:
        """Starts the daemon and waits until it is ready."""
        self.claim_data()
        assert self._lock is not None  # noqa: S101
        port = choose_port(wanted_port)
        self.url = f"http://{HOST}:{port}"
        # Settings of another daemon (its database, its data) must not affect this one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIMEBALL_")}
        command = [str(Path(sys.executable).with_name("timeball")), "serve"]
        command += ["--host", HOST, "--port", str(port), "--data-dir", str(self.data_dir)]
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches only this script, which stops the daemon cleanly
                pass_fds=(
                    self._lock.fileno(),
                ),  # the data directory stays locked while the daemon is running
            )
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"process {self._process.pid}, {self.url}\n")
        self._lock.flush()
        readiness = "it does not respond"
        while time.monotonic() < began + START_SECONDS:
            self.must_live()
            with contextlib.suppress(urllib.error.URLError, OSError):
                status, answer = self.get_status("/readyz")
                if status == 200:
                    say(f"✓ Timeball is running at {self.url} (ready after {time.monotonic() - began:.1f} s)")
                    return
                readiness = answer
            time.sleep(0.05)
        raise DemonstrationError(
            f"The daemon is not ready after {START_SECONDS} s: {readiness}", f"See its log: {shown(self.log)}"
        )

    def must_live(self, *, patience: float = 0) -> None:
        """Raises an error with the last lines of the log if the daemon has exited, or exits within the given time."""
        assert self._process is not None  # noqa: S101
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(patience)
            tail = self.log.read_bytes()[self._log_start :].decode(errors="replace").splitlines()[-15:]
            raise DemonstrationError(
                f"The daemon has exited (exit status {status}). From {shown(self.log)}:",
                *(f"| {line}" for line in tail),
            )

    def stop(self) -> None:
        """Stops the daemon cleanly, and kills it only if it does not stop."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
            say("✓ Stopped the daemon")
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            say(f"✗ The daemon did not stop within {STOP_SECONDS} s and was killed; see {shown(self.log)}")

    def get_status(self, path: str) -> tuple[int, str]:
        """Requests a path and returns the status and the text, whatever they are."""
        try:
            with self._opener.open(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def call(self, method: str, path: str, body: Json | None = None) -> Any:
        """Calls the API with the administrator's token and returns the JSON response."""
        request = urllib.request.Request(  # noqa: S310
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Token {self.token_file.read_text().strip()}",
                "Content-Type": "application/json",
            },
        )
        try:
            with self._opener.open(request, timeout=15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")
            raise DemonstrationError(
                f"{method} {path} returned {error.code}: {words}",
                f"See the daemon's log: {shown(self.log)}",
            ) from error
        except (urllib.error.URLError, OSError) as error:
            self.must_live(patience=2)
            raise DemonstrationError(
                f"{method} {path} failed: {error}", f"See the daemon's log: {shown(self.log)}"
            ) from error

    def curl(self, path: str) -> str:
        """The curl command for the same request."""
        token = f'"Authorization: Token $(cat {shown(self.token_file)})"'
        return f"curl -s -H {token} '{self.url}{path}'"


class Watch:
    """Follows the runs of a job: prints each log line once, as it arrives, and the result of each run."""

    def __init__(self, daemon: Daemon, job_id: int) -> None:
        self.daemon = daemon
        self.job_path = f"/v1/jobs/{job_id}"
        self.logs: dict[str, list[Json]] = {}
        self.ended: dict[str, Json] = {}
        self._shown: Counter[tuple[str, ...]] = Counter()

    def _new_lines(self, run: str, lines: list[Json]) -> Iterator[Json]:
        counted: Counter[tuple[str, ...]] = Counter()
        for line in lines:
            key = (run, line["timestamp"], line["stream"], line["message"])
            counted[key] += 1
            if counted[key] > self._shown[key]:
                self._shown[key] = counted[key]
                yield line

    def look(self) -> None:
        """Checks all runs once."""
        execs = self.daemon.call("GET", f"{self.job_path}/execs?page_size=50")["results"]
        execs.sort(key=lambda each: each["scheduled_for"] or each["created_at"])
        for number, run in enumerate(execs, start=1):
            if run["id"] in self.ended:
                continue
            lines = self.daemon.call("GET", f"{self.job_path}/execs/{run['id']}/logs")
            for line in self._new_lines(run["id"], lines):
                moment = datetime.fromisoformat(line["timestamp"])
                say(f"  {clock(moment)}  run {number}  {line['stream']:<6}  {line['message']}")
            self.logs[run["id"]] = lines
            if run["status"] in {"S", "F", "C"}:
                self.ended[run["id"]] = run
                self._print_end(number, run)

    def _print_end(self, number: int, run: Json) -> None:
        words = f"run {number} {STATUS_WORDS[run['status']]}"
        if run.get("exit_code") is not None:
            words += f", exit code {run['exit_code']}"
        if run["started_at"] and run["ended_at"]:
            started, ended = map(datetime.fromisoformat, (run["started_at"], run["ended_at"]))
            words += f", took {(ended - started).total_seconds():.2f} s"
            if run["scheduled_for"]:
                due = datetime.fromisoformat(run["scheduled_for"])
                late = (started - due).total_seconds()
                words += f"; due {clock(due)}, started {late:.3f} s later"
        if run.get("error"):
            words += f"; {run['error']}"
        say(f"{'✓' if run['status'] == 'S' else '✗'} {words}")
        say()

    def follow(self) -> None:
        """Waits until all runs have ended; raises DemonstrationError if they do not."""
        deadline = time.monotonic() + DEMONSTRATION_SECONDS
        while len(self.ended) < RUNS:
            if time.monotonic() > deadline:
                raise DemonstrationError(
                    f"Only {len(self.ended)} of {RUNS} runs have ended within {DEMONSTRATION_SECONDS} s.",
                    f"For details, run:  {self.daemon.curl(self.job_path + '/execs')}",
                    f"and see the daemon's log: {shown(self.daemon.log)}",
                )
            self.daemon.must_live()
            self.look()
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raises DemonstrationError unless every run succeeded and its log is complete."""
        for number, (identifier, run) in enumerate(self.ended.items(), start=1):
            if run["status"] != "S":
                raise DemonstrationError(f"Run {number} has not succeeded.", f"See {shown(self.daemon.log)}")
            said = {(line["stream"], line["message"]) for line in self.logs[identifier]}
            greeted = any(stream == "stdout" and words.startswith(GREETING) for stream, words in said)
            if not greeted or not {("stdout", FAREWELL), ("stderr", ERROR_LINE)} <= said:
                raise DemonstrationError(f"Lines of run {number} are missing from its log.")


def show_time_range(watch: Watch) -> None:
    """Reads the log of the second run by time range, with a command that users can run as well."""
    identifier = list(watch.ended)[1]
    stamps = [line["time"] for line in watch.logs[identifier] if line["message"] in {ERROR_LINE, FAREWELL}]
    path = f"{watch.job_path}/execs/{identifier}/logs?start_time={min(stamps)}&end_time={max(stamps)}"
    command = watch.daemon.curl(path)
    say("The output is stored. To read what run 2 wrote after its pause, by time range:")
    say()
    say(f"  {command}")
    say()
    if shutil.which("curl"):
        environment = os.environ | {"no_proxy": HOST}
        answer = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, env=environment, check=False)
        if answer.returncode != 0:
            raise DemonstrationError(f"curl failed with exit status {answer.returncode}.")
        lines = json.loads(answer.stdout)
    else:
        say("  (curl is not installed, so this script sends the same request)")
        lines = watch.daemon.call("GET", path)
    for number, line in enumerate(lines):
        say(f"  {'[' if number == 0 else ' '}{json.dumps(line)}{']' if number == len(lines) - 1 else ','}")
    say()
    if {line["message"] for line in lines} < {ERROR_LINE, FAREWELL}:
        raise DemonstrationError("The response does not contain all lines in the time range.")
    if any(line["message"].startswith(GREETING) for line in lines):
        raise DemonstrationError("The response contains lines outside the time range.")


def demonstrate(daemon: Daemon) -> None:
    """Creates a job with a schedule of three runs and follows it to its end."""
    now = datetime.now(UTC)
    start = now.replace(microsecond=0) + timedelta(seconds=LEAD_SECONDS)
    schedule = f"R{RUNS}/{start:%Y-%m-%dT%H:%M:%S}Z/PT{STEP_SECONDS}S"
    job = daemon.call(
        "POST",
        "/v1/jobs",
        {
            "name": f"quickstart-{now:%Y%m%d-%H%M%S}",
            "docker_image_repo": IMAGE,
            "docker_image_tag": TAG,
            "command": ["sh", "-c", COMMAND],
            "runtime_vars": {"GREETING": GREETING},
            "resource_size": "XXS",
            "schedule_mode": schedule,
            "is_schedule_active": True,
            "misfire_policy": "skip",  # runs that Ctrl-C prevents are not run at the next start
        },
    )
    say(f"✓ Created job {job['id']} '{job['name']}' with the schedule {schedule}:")
    say(f"  {RUNS} runs, {STEP_SECONDS} seconds apart. This is their output (times are in UTC):")
    say()
    watch = Watch(daemon, job["id"])
    watch.follow()
    watch.check()
    show_time_range(watch)
    say(f"The API is at {daemon.url}/v1, and the token is in {shown(daemon.token_file)}. For example:")
    say()
    say(f"  {daemon.curl('/v1/jobs')}")
    say(f"  {daemon.curl(watch.job_path + '/execs')}")
    say(f"  {daemon.curl(watch.job_path + '/execs')} -X POST    # run it again now")
    say()


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Turns a signal into an exception, so that everything is shut down cleanly."""
    raise Interrupted


def serve(daemon: Daemon) -> None:
    """Waits until interrupted; raises DemonstrationError if the daemon exits."""
    say(f"The daemon is running. Press Ctrl-C to stop it. Its log: {shown(daemon.log)}")
    while True:
        daemon.must_live()
        time.sleep(0.5)


def main() -> int:
    """Runs the demonstration. The exit status is 0 if it succeeded, and 130 if it was interrupted."""
    parser = argparse.ArgumentParser(prog="deploy/demo.py", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    daemon = Daemon(options.data_dir.absolute())
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for each in signals:
        signal.signal(each, interrupt)
    shown_all = False
    try:
        daemon.start(options.port)
        demonstrate(daemon)
        shown_all = True
        if not options.once:
            serve(daemon)
    except DemonstrationError as error:
        what, *remedies = error.args
        print(f"✗ {what}", *(f"    {line}" for line in remedies), sep="\n", file=sys.stderr, flush=True)
        return 1
    except Interrupted:
        say()
        return 0 if shown_all else 130
    finally:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)
        daemon.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
