"""What a container tries that wants out of it, as root and without any options: nothing of it succeeds."""

from __future__ import annotations

import pytest

from tests.lab.timeball import Timeball, script

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: What root in a container can try to get at its host, by what it would gain; none does harm if it succeeds.
ATTEMPTS = {
    "the host's disk": "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk",
    "the host's memory": "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem",
    "a mount": "mkdir -p /tmp/m && mount -t tmpfs none /tmp/m",
    "a cgroup's release agent": "mkdir -p /tmp/c && mount -t cgroup -o memory none /tmp/c",
    "the root as another": "chroot /tmp /bin/true",
    "namespaces of its own": "unshare -m true",
    "the host's namespaces": "nsenter -t 1 -m -- test -e /var/lib/docker",
    "another root by process 1": "test -e /proc/1/root/var/lib/docker",
    "the kernel's settings": "p=$(cat /proc/sys/kernel/core_pattern) && echo $p > /proc/sys/kernel/core_pattern",
    "the kernel's trigger": "echo h > /proc/sysrq-trigger",
    "the kernel's helpers": "h=$(cat /sys/kernel/uevent_helper) && echo $h > /sys/kernel/uevent_helper",
    "the kernel's messages": "dmesg | grep .",
    "the engine": "test -e /var/run/docker.sock || test -e /run/docker.sock",
    "the host's name": "hostname elsewhere",
    "raw packets": "ping -c 1 -W 1 127.0.0.1",
    "another's process": "test -d /proc/2/root/proc/1 && kill -0 2 && ls /proc/2/root/var/lib/docker",
    "more powers": "grep -q '^NoNewPrivs:.0' /proc/self/status",
}
#: Lines that look like Timeball's own.
FORGED = ("Start running!", "Stopping: requested by admin", "Start pulling image: evil:1")


@pytest.mark.promise("limits")
async def test_nothing_that_a_container_tries_gets_it_out(timeball: Timeball) -> None:
    """Each attempt fails by itself; the run sees its end, and the daemon takes no harm."""
    tries = "\n".join(
        f'( {attempt} ) > /dev/null 2>&1 && echo "got {what}"' for what, attempt in ATTEMPTS.items()
    )
    job, one = await timeball.run(script(f"mkdir -p /tmp\n{tries}\necho tried all of it"), resource_size="S")
    assert one["status"] == "S", one
    assert await timeball.lines(job, one["id"]) == ["tried all of it"]
    assert await timeball.is_ready()


async def test_lines_that_look_like_ours_are_the_containers(timeball: Timeball) -> None:
    """Whoever reads the log by its streams can tell who wrote a line."""
    prints = "; ".join(f"echo '{line}'" for line in FORGED)
    job, one = await timeball.run(script(prints))
    assert await timeball.lines(job, one["id"]) == list(FORGED)
    ours = await timeball.lines(job, one["id"], "system")
    assert ours.count("Start running!") == 1
    assert not any("evil" in line or "requested" in line for line in ours)


async def test_a_megabyte_of_variables_is_refused(timeball: Timeball) -> None:
    """By the sum of them, though each alone is small."""
    variables = {f"V{number}": "x" * 10_000 for number in range(100)}
    body = {"name": "big", "docker_image_repo": timeball.repository, "runtime_vars": variables}
    status, raw = await timeball.send("POST", "/v1/jobs", body)
    assert status == 400
    assert b"bytes in total" in raw
