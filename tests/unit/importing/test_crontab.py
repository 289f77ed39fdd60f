"""crontab files with `docker run`: every option, and all that a shell and cron would do besides."""

# ruff: noqa: E501 - each case stands on one line

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.cli.importing.crontab import looks_like_crontab, read_crontab
from api.cli.importing.detect import Format
from tests.unit.importing.cases import notes, one, taken

BASE = {"docker_image_repo": "busybox", "schedule_mode": "0 2 * * *", "is_schedule_active": True}


def line(rest: str) -> dict[str, Any]:
    """The job of one line, without what every line has."""
    job = one(f"0 2 * * * {rest}\n", Format.CRONTAB)
    return {name: value for name, value in job.items() if BASE.get(name) != value and name != "name"}


@pytest.mark.parametrize(
    ("rest", "fields"),
    [
        ("docker run --rm busybox", {}),
        ("/usr/bin/docker run -d --rm busybox", {}),
        ("docker container run busybox", {}),
        ("sudo docker run busybox:1.28 echo hi", {"docker_image_tag": "1.28", "command": "echo hi"}),
        ("docker run r.example.com:5000/team/x:1", {"docker_image_repo": "r.example.com:5000/team/x", "docker_image_tag": "1"}),
        ("docker run busybox@sha256:" + "a" * 64, {"docker_image_digest": "sha256:" + "a" * 64}),
        ("docker run busybox sh -c 'echo \"a b\" | wc'", {"command": ["sh", "-c", 'echo "a b" | wc']}),
        ("docker run -e A=1 --env B='x y' --env=C= busybox", {"runtime_vars": {"A": "1", "B": "x y", "C": ""}}),
        ("docker run -eA=1 -dite B=2 busybox", {"runtime_vars": {"A": "1", "B": "2"}}),
        ("docker run -v /a:/b -v /c:/d:ro busybox", {"mounts": [{"source": "/a", "target": "/b", "read_only": False}, {"source": "/c", "target": "/d", "read_only": True}]}),
        ("docker run --mount type=bind,src=/a,dst=/b,readonly busybox", {"mounts": [{"source": "/a", "target": "/b", "read_only": True}]}),
        ("docker run -m 64m --cpus 0.15 busybox", {"resource_size": "XXS"}),
        ("docker run --memory=300m busybox", {"resource_size": "M"}),
        ("docker run -m 1g busybox", {"resource_size": "L"}),
        ("docker run --cpus .3 busybox", {"resource_size": "S"}),
        ("docker run -m 64g busybox", {"resource_size": "XL"}),
        ("docker run --network backend -u 1000:1000 --read-only busybox", {"network": "backend", "user": "1000:1000", "read_only_root": True}),
        ("docker run --read-only=false --rm=false busybox", {}),
        ("docker run --cap-add NET_RAW --cap-add=cap_chown busybox", {"capabilities": ["NET_RAW", "CHOWN"]}),
        ("docker run -l a=b --pull always --stop-timeout 30 busybox", {"labels": {"a": "b"}, "pull_policy": "always", "stop_grace_seconds": 30}),
        ("docker run -- busybox -x", {"command": "-x"}),
        ("flock -n /var/lock/x docker run busybox", {"concurrency_policy": "forbid"}),
        ("flock /var/lock/x timeout -k 5 10m docker run busybox", {"concurrency_policy": "queue", "timeout_seconds": 600}),
        ("nice -n 5 ionice -c 3 docker run busybox", {}),
        ("flock -w 10 /var/lock/x docker run busybox", {"concurrency_policy": "queue"}),
        ("/usr/bin/flock --nonblock /var/lock/x /usr/bin/docker run busybox", {"concurrency_policy": "forbid"}),
        ("docker run busybox date +\\%F", {"command": "date +%F"}),
        ("-docker run busybox >/dev/null 2>&1", {}),
    ],
)  # fmt: skip
def test_options_of_docker_run_become_fields(rest: str, fields: dict[str, Any]):
    """Long and short, alone and in bunches, behind what usually stands before them."""
    assert line(rest) == fields


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("docker run --env-file /etc/x busybox", "--env-file /etc/x is not imported: the contents of the file are unknown"),
        ("docker run -e A busybox", "variable A takes its value from the caller's environment"),
        ("docker run -it busybox", "--interactive is not imported"),
        ("docker run -it busybox", "--tty is not imported"),
        ("docker run --entrypoint /x busybox", "--entrypoint /x is not imported: the image's entrypoint is used"),
        ("docker run -w /x busybox", "--workdir /x is not imported"),
        ("docker run --privileged busybox", "--privileged is not imported: jobs cannot be privileged"),
        ("docker run --network host busybox", "network host is not imported"),
        ("docker run --net=container:x busybox", "network container:x is not imported"),
        ("docker run -v data:/x busybox", "the named volume 'data'"),
        ("docker run -v /x busybox", "an anonymous volume"),
        ("docker run -v /x:/y:z busybox", "options z are not imported"),
        ("docker run -v /x:/y busybox", "the container policy must allow it"),
        ("docker run --mount type=volume,src=a,dst=/b busybox", "--mount type=volume,src=a,dst=/b is not imported"),
        ("docker run -p 80:80 busybox", "--publish 80:80 is not imported: ports cannot be published"),
        ("docker run --cap-add ALL busybox", "capability ALL is not imported"),
        ("docker run --cap-drop ALL busybox", "--cap-drop ALL is not imported"),
        ("docker run -m 300m busybox", "requests 300 MiB; it gets M (1 CPU, 512 MiB)"),
        ("docker run -m 64g busybox", "more than the largest size"),
        ("docker run -m lots busybox", "--memory lots is not a size"),
        ("docker run --cpus many busybox", "--cpus many is not a number"),
        ("docker run --pull sometimes busybox", "--pull sometimes is not imported"),
        ("docker run --stop-timeout -1 busybox", "--stop-timeout -1 is not imported"),
        ("docker run --frobnicate x busybox", "--frobnicate x is not imported"),
        ("docker -H tcp://x run busybox", "-H tcp://x is not imported: set region_name"),
        ("cd /srv && docker run busybox", "'cd /srv' is not imported"),
        ("docker run busybox | tee /x", "'| tee /x' is not imported"),
        ("docker run busybox || mail -s x y", "'|| mail -s x y' is not imported"),
        ("docker run busybox >> /var/log/x 2>&1", "'>> /var/log/x' is not imported: a run's output is in its log"),
        ("docker run busybox < /etc/x", "'< /etc/x' is not imported: standard input"),
        ("docker run busybox echo $(date) x", "'$(date)' was expanded by the shell"),
        ("docker run busybox echo `date`", "'`date`' was expanded by the shell"),
        ('docker run busybox echo "$HOME" ${X:-y}', "'$HOME' was expanded by the shell"),
        ('docker run busybox echo "$HOME" ${X:-y}', "'${X:-y}' was expanded by the shell"),
        ("docker run busybox ls *", "'*' was expanded by the shell"),
        ("docker run busybox cat%hello%there", "the text after '%' is standard input"),
        ("DOCKER_HOST=x docker run busybox", "DOCKER_HOST was set for the docker command"),
        ("timeout soon docker run busybox", "'timeout soon' is not imported"),
        ("timeout -k 5 1m docker run busybox", "'-k 5' of timeout is not imported: stop_grace_seconds"),
        ("flock -w 10 /x docker run busybox", "'-w 10' of flock is not imported"),
        ("nice -n 5 docker run busybox", "'-n 5' of nice is not imported: resource_size"),
        ("app docker run busybox", "user app is not imported"),
    ],
)  # fmt: skip
def test_what_has_no_field_is_noted_with_its_line(rest: str, said: str):
    """And the job is there all the same."""
    text = f"# a comment\n0 2 * * * {rest}\n"
    assert any(number == 2 and said in note for number, note in notes(text, Format.CRONTAB)), notes(
        text, Format.CRONTAB
    )
    assert one(text, Format.CRONTAB)["docker_image_repo"] == "busybox"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@reboot docker run busybox", "@reboot is not imported"),
        ("0 2 * * * /usr/local/bin/backup", "it runs /usr/local/bin/backup, not a container"),
        ("0 2 * * * docker exec x y", "it runs docker exec"),
        ("0 2 * * * docker compose run x", "it runs docker compose"),
        ("0 2 * * * docker run a; docker run b", "several 'docker run'"),
        ("0 2 * * * docker run", "without an image"),
        ("0 2 * * * docker run --rm", "without an image"),
        ("0 2 * * * docker run -e", "docker run -e has no value"),
        ("0 2 * * * docker run -Z x", "docker run has no option -Z"),
        ("0 2 * * * docker run 'busybox", "the quote at position 12 is not closed"),
        ("0 2 * * * docker run busybox $(date", "is not closed"),
        ("0 2 31 2 * docker run busybox", "never runs"),
        ("61 2 * * * docker run busybox", "out of range"),
        ("0 2 * * * docker run BusyBox", "docker_image_repo is not a valid name of an image repository"),
        ("0 2 * * * docker run --name ' ' busybox", "name is empty"),
        ("hello", "'hello' is not a crontab line"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_job_is_left_out_and_named(text: str, said: str):
    """With the reason; the lines around it are taken."""
    jobs, result = taken(f"0 1 * * * docker run first\n{text}\n0 3 * * * docker run last\n", Format.CRONTAB)
    assert [job["name"] for job in jobs] == ["first", "last"]
    [lost] = [note for note in result.notes if note.lost]
    assert lost.line == 2
    assert said in lost.text


def test_variables_of_the_crontab_are_put_in():
    """Those that lines use; the others are noted, as is who got the mail."""
    text = 'MAILTO="ops@example.com"\nPATH=/bin\nTAG = "1.28"\n0 2 * * * docker run -e X=${TAG} "busybox:$TAG" $TAG\n'
    job = one(text, Format.CRONTAB)
    assert (job["docker_image_tag"], job["runtime_vars"], job["command"]) == ("1.28", {"X": "1.28"}, "1.28")
    assert [number for number, _ in notes(text, Format.CRONTAB)] == [1, 2]


def test_a_variable_that_is_handed_on_has_the_value_of_the_crontab():
    """`-e NAME` takes it from the environment, which cron has made."""
    text = "MODE=full\n0 2 * * * docker run -e MODE busybox\n"
    assert one(text, Format.CRONTAB)["runtime_vars"] == {"MODE": "full"}
    assert notes(text, Format.CRONTAB) == []


def test_a_lock_that_several_lines_share_is_noted():
    """Here, only runs of one job have to do with each other."""
    text = "0 2 * * * flock -n /l docker run a\n0 3 * * * flock -n /l docker run b\n"
    assert [
        (number, "the lock /l is shared with line 1" in note) for number, note in notes(text, Format.CRONTAB)
    ] == [(2, True)]


def test_cron_tz_holds_for_the_lines_after_it():
    """Without it, one note says that the zone is not known."""
    jobs, result = taken(
        "0 1 * * * docker run a\nCRON_TZ=Asia/Tokyo\n0 1 * * * docker run b\n", Format.CRONTAB
    )
    assert [job.get("schedule_timezone") for job in jobs] == [None, "Asia/Tokyo"]
    assert any(note.line is None and "does not name a time zone" in note.text for note in result.notes)
    lost = notes("CRON_TZ=Nowhere\n0 1 * * * docker run b\n", Format.CRONTAB)
    assert "is not the name of an IANA time zone" in lost[0][1]


def test_the_column_of_the_user_is_seen():
    """In /etc/crontab always, elsewhere where a program follows."""
    text = "17 * * * * root docker run a\n25 6 * * * app /usr/bin/docker run b\n"
    assert [job["name"] for job in taken(text, Format.CRONTAB)[0]] == ["a", "b"]
    jobs, _ = taken("1 1 * * * docker docker run c\n", Format.CRONTAB, file="/etc/cron.d/x")
    assert [job["name"] for job in jobs] == ["c"]


def test_jobs_of_one_image_get_names_of_their_own():
    """A given name is kept."""
    text = "0 1 * * * docker run a\n0 2 * * * docker run a\n0 3 * * * docker run --name nightly a\n@daily docker run x/a:2"
    assert [job["name"] for job in taken(text, Format.CRONTAB)[0]] == ["a", "a-2", "nightly", "a-3"]


def test_a_crontab_is_recognised():
    """By the form of its lines."""
    assert looks_like_crontab("# x\n*/5 * * * * docker run a")
    assert looks_like_crontab("@daily docker run a")
    assert not looks_like_crontab("hello world, how are you today")


@settings(deadline=None)
@given(st.text(alphabet="0*/, @dockerun-eAv=:'\"$()`{}&|;<>%\\\n#~", max_size=80))
def test_no_crontab_breaks_the_reader(text: str):
    """Whatever stands behind the time."""
    read_crontab(text)
    read_crontab(f"* * * * * docker run {text}")
