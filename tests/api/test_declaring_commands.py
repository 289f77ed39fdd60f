"""`timeball apply`, `export` and `import` against a daemon: what files declare is so, and stays so."""

# ruff: noqa: ASYNC240, E501 - files are small, and each case stands on one line

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.cli.main import main
from tests.api.conftest import REPO, TAG, Api, World
from tests.api.test_access_commands import has_settled, run, run_json

__all__ = ["has_settled"]

IMAGE = f"docker_image_repo: {REPO}\n    docker_image_tag: '{TAG}'"
JOBS = f"""\
jobs:
  - name: nightly
    namespace: team
    {IMAGE}
    command: echo hi
    runtime_vars: {{MODE: fast, AT: 12:30}}
    labels: {{tier: db}}
    schedule_mode: R0//P1D
    is_schedule_active: true
  - name: hourly
    namespace: team
    {IMAGE}
    schedule_mode: "@hourly"
    max_retries: 3
  - name: mine
    {IMAGE}
    pin_digest: true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that declares three jobs, two of them in one namespace."""
    path = tmp_path / "files" / "jobs.yaml"
    path.parent.mkdir()
    path.write_text(JOBS, encoding="utf-8")
    return path


async def all_jobs(api: Api) -> dict[str, dict[str, Any]]:
    """What the daemon has, by namespace and name, without what every daemon decides by itself."""
    found = (await api.get("/v1/jobs?page_size=1000")).body["results"]
    own = {"id", "created_at", "updated_at", "next_run_at", "last_exec"}
    return {
        f"{job['namespace']}/{job['name']}": {name: job[name] for name in job if name not in own}
        for job in found
    }


async def applied(api: Api, *words: str, **more: Any) -> list[str]:
    """What is done with each job."""
    data = await run_json(api, "apply", *words, **more)
    return [f"{one['action']} {one['namespace']}/{one['name']}" for one in data["jobs"]]


async def test_what_is_declared_is_so_and_then_nothing_is_left_to_do(api: Api, file: Path):
    """A second time says unchanged of everything, also after the daemon has written a start into a schedule."""
    looked = await run(api, "apply", "-f", str(file), "--dry-run")
    assert looked.exit_code == 0, looked.output
    assert looked.stdout.startswith("+ team/nightly\n")
    assert looked.stdout.endswith("Dry run: 3 to create. Nothing was changed.\n")
    assert await all_jobs(api) == {}

    done = await run(api, "apply", "-f", str(file))
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "3 created.")
    jobs = await all_jobs(api)
    assert set(jobs) == {"team/nightly", "team/hourly", "admin/mine"}
    assert jobs["team/nightly"]["runtime_vars"] == {"MODE": "fast", "AT": "12:30"}
    assert jobs["team/nightly"]["schedule_mode"] not in ("R0//P1D", None)

    for _ in range(2):
        assert (await run(api, "apply", "-f", str(file))).stdout == "3 unchanged.\n"
    assert await all_jobs(api) == jobs


async def test_a_change_is_shown_and_made_and_what_is_left_out_has_its_default(api: Api, file: Path):
    """Variables one by one."""
    await run(api, "apply", "-f", str(file))
    file.write_text(
        JOBS.replace("MODE: fast, AT: 12:30", "MODE: slow, N: 0123").replace("    max_retries: 3\n", "")
    )
    looked = await run(api, "apply", "-f", str(file), "--dry-run")
    assert looked.stdout.splitlines() == [
        "~ team/nightly",
        '    runtime_vars.AT: "12:30" → (none)',
        '    runtime_vars.MODE: "fast" → "slow"',
        '    runtime_vars.N: (none) → "0123"',
        "~ team/hourly",
        "    max_retries: 3 → 0",
        "Dry run: 2 to update, 1 unchanged. Nothing was changed.",
    ]
    data = await run_json(api, "apply", "-f", str(file))
    assert data["jobs"][1]["changes"] == {"max_retries": {"from": 3, "to": 0}}
    assert [one["status"] for one in data["jobs"]] == ["done"] * 3
    jobs = await all_jobs(api)
    assert jobs["team/nightly"]["runtime_vars"] == {"MODE": "slow", "N": "0123"}
    assert jobs["team/hourly"]["max_retries"] == 0
    assert (await run(api, "apply", "-f", str(file))).stdout == "3 unchanged.\n"


async def test_pruning_deletes_in_the_named_namespaces_alone_and_asks_first(api: Api, file: Path):
    """Whoever says no has changed nothing at all; who cannot be asked has to say --yes."""
    for namespace in ("team", "other"):
        await api.create("extra", namespace=namespace)
    words = ("-f", str(file), "--prune")
    refused = await run(api, "apply", *words, given="n\n")
    assert refused.exit_code == 1
    assert "- team/extra  with all its runs and logs" in refused.stdout
    assert "Delete 1 job with all runs and logs?" in refused.stderr
    assert set(await all_jobs(api)) == {"team/extra", "other/extra"}

    piped = await run(api, "apply", "-f", "-", "--prune", given=JOBS)
    assert piped.exit_code == 2
    assert "Add --yes to confirm." in piped.stderr
    assert set(await all_jobs(api)) == {"team/extra", "other/extra"}

    assert (await applied(api, *words, "--yes"))[-1] == "delete team/extra"
    assert "team/extra" not in await all_jobs(api)
    assert "other/extra" in await all_jobs(api)
    file.write_text("jobs: []\n")
    assert await applied(api, *words, "--yes") == []
    assert await applied(api, *words, "--namespace", "other", "--yes") == ["delete other/extra"]


async def test_several_files_a_directory_and_standard_input_are_taken_together(api: Api, tmp_path: Path):
    """Jobs that name no namespace are in the one that is given."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.yml").write_text(f"jobs:\n  - name: b\n    {IMAGE}\n")
    (folder / "a.json").write_text(json.dumps({"jobs": [{"name": "a", "docker_image_repo": REPO}]}))
    (folder / "notes.txt").write_text("not for us")
    words = ("-f", str(folder), "-f", "-", "--namespace", "team")
    done = await applied(api, *words, given=f"jobs:\n  - name: c\n    {IMAGE}\n")
    assert done == ["create team/a", "create team/b", "create team/c"]
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, said in (
        (empty, "contains no files that end in"),
        (tmp_path / "gone.yaml", "Cannot read"),
    ):
        result = await run(api, "apply", "-f", str(path))
        assert (result.exit_code, said in result.stderr) == (2, True), result.output


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs:\n  - name: a\n", ":2: job 1 'a': docker_image_repo is required"),
        (f"jobs:\n  - name: a\n    {IMAGE}\n    comand: x\n", ":5: job 1 'a': comand is not a field of a job (did you mean 'command'?"),
        (f"jobs:\n  - name: a\n    {IMAGE}\n    runtime_vars: {{A: 1.10}}\n", 'write it in quotes: "1.10"'),
        (f"jobs:\n  - name: a\n    {IMAGE}\n  - name: a\n    {IMAGE}\n    namespace: admin\n", "is already declared at"),
        ("jobs: [", "is not valid YAML"),
        ("", "contains no jobs"),
    ],
)  # fmt: skip
async def test_a_mistake_in_any_file_changes_nothing(
    api: Api, file: Path, tmp_path: Path, text: str, said: str
):
    """It is named with file, line and field; status 1."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text)
    result = await run(api, "apply", "-f", str(file), "-f", str(wrong))
    assert result.exit_code == 1
    assert said in result.stderr
    assert "wrong.yaml" in result.stderr
    assert await all_jobs(api) == {}


async def test_bytes_that_are_no_text_are_refused(api: Api, tmp_path: Path):
    """With their line."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_bytes(b"jobs:\n- \xff\n")
    result = await run(api, "apply", "-f", str(wrong))
    assert (result.exit_code, ":2: byte 0xff is not valid UTF-8" in result.stderr) == (1, True)


async def test_what_the_daemon_refuses_leaves_the_others_done_and_nothing_deleted(api: Api, file: Path):
    """It is said which; when it is mended, a second run does the rest."""
    await api.create("extra", namespace="team")
    file.write_text(JOBS.replace("max_retries: 3", "resource_size: HUGE"))
    words = ("apply", "-f", str(file), "--prune", "--yes")
    result = await run(api, *words)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1] == "2 created, 1 failed, 1 skipped."
    assert "jobs.yaml:11: team/hourly: resource_size" in result.stderr
    assert "applied: team/nightly, admin/mine" in result.stderr
    assert "skipped: team/extra" in result.stderr
    assert set(await all_jobs(api)) == {"team/nightly", "admin/mine", "team/extra"}
    as_json = await run(api, *words, "--json")
    statuses = [one["status"] for one in json.loads(as_json.stdout)["jobs"]]
    assert (as_json.exit_code, statuses) == (1, ["done", "failed", "done", "skipped"])

    file.write_text(JOBS)
    assert (await run(api, *words)).stdout.splitlines()[-1] == "1 created, 1 deleted, 2 unchanged."
    assert (await run(api, *words)).stdout == "3 unchanged.\n"


async def test_who_may_not_define_jobs_is_told_so(api: Api, file: Path):
    """Of each job, with status 1."""
    made = (await run(api, "token", "create", "--name", "r", "--role", "viewer")).stdout.strip()
    result = await run(api, "apply", "-f", str(file), token=made)
    assert result.exit_code == 1
    assert "editor" in result.stderr
    assert await all_jobs(api) == {}


def test_a_daemon_that_is_not_there_is_told_apart(file: Path):
    """Status 3, for apply and for export."""
    environment = {"TIMEBALL_URL": "http://127.0.0.1:9", "TIMEBALL_TOKEN": "tbl_none"}
    for words in (["apply", "-f", str(file)], ["export"]):
        result = CliRunner().invoke(main, words, env=environment)
        assert result.exit_code == 3, result.output


async def test_what_is_exported_rebuilds_a_daemon_and_changes_nothing_where_it_is_from(
    api: Api, file: Path, tmp_path: Path
):
    """Whatever the jobs have; two exports of the same jobs are the same."""
    await run(api, "apply", "-f", str(file))
    await api.create(
        "whole", namespace="team", command=["sh", "-c", "echo a\necho 'b: c'\n"], resource_size="M", priority=5,
        runtime_vars={"YES": "yes", "N": "0123", "E": "", "S": {"secret": "db"}, "L": "a\n\n  b"}, labels={"on": "off"},
        schedule_mode="0 2 * * 1-5", schedule_timezone="Asia/Shanghai", is_schedule_active=True,
        retry_on=["timeout"], timeout_seconds=60, retention_days=0, user="1000:1000", read_only_root=True,
        concurrency_policy="forbid", misfire_policy="skip", pull_policy="never", email_enabled=True,
    )  # fmt: skip
    before = await all_jobs(api)
    out = tmp_path / "out.yaml"
    assert (await run(api, "export", "-o", str(out))).stderr == f"Exported 4 jobs to {out}.\n"
    text = (await run(api, "job", "export")).stdout
    assert out.read_text(encoding="utf-8") == text
    assert (await run(api, "apply", "-f", str(out))).stdout == "4 unchanged.\n"

    for number in [job["id"] for job in (await api.get("/v1/jobs")).body["results"]]:
        await api.delete(f"/v1/jobs/{number}")
    exported = await run(api, "apply", "-f", "-", given=text)
    assert exported.stdout.splitlines()[-1] == "4 created."
    assert await all_jobs(api) == before
    assert (await run(api, "export")).stdout == text
    in_json = (await run(api, "export", "--json")).stdout
    assert (await run(api, "apply", "-f", "-", given=in_json)).stdout == "4 unchanged.\n"


async def test_some_jobs_are_exported_alone(api: Api, file: Path):
    """By name, by namespace; one that is not there is refused, and no file is written."""
    await run(api, "apply", "-f", str(file))
    one = json.loads((await run(api, "export", "hourly", "--json")).stdout)
    assert [job["name"] for job in one["jobs"]] == ["hourly"]
    assert one["jobs"][0] == {
        "name": "hourly", "namespace": "team", "docker_image_repo": REPO, "docker_image_tag": TAG,
        "schedule_mode": "@hourly", "max_retries": 3,
    }  # fmt: skip
    assert (await run(api, "export", "--namespace", "team")).stdout.count("- name:") == 2
    assert (await run(api, "export", "--namespace", "nobody")).stdout == "jobs: []\n"
    out = file.with_name("out.yaml")
    refused = await run(api, "export", "nothing", "-o", str(out))
    assert (refused.exit_code, out.exists()) == (2, False)
    unwritable = await run(api, "export", "-o", str(file / "x.yaml"))
    assert (unwritable.exit_code, "Cannot write" in unwritable.stderr) == (2, True)


class TestOtherDefaults:
    """A daemon whose operator has chosen another size for jobs that name none."""

    @pytest.fixture
    def migrated(self, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Its database, with its settings around it."""
        monkeypatch.setenv("TIMEBALL_DEFAULT_SIZE", "M")
        return migrated

    async def test_what_is_left_out_is_what_this_daemon_makes_of_it(self, world: World, file: Path):
        """So nothing is left to do; the export says what another daemon would not know."""
        api = world.api
        await run(api, "apply", "-f", str(file))
        assert (await all_jobs(api))["team/hourly"]["resource_size"] == "M"
        assert (await run(api, "apply", "-f", str(file))).stdout == "3 unchanged.\n"
        text = (await run(api, "export", "hourly")).stdout
        assert "resource_size: M" in text


async def test_a_crontab_is_taken_over(api: Api, tmp_path: Path):
    """First as a file, then right away; what it cannot say is on standard error."""
    crontab = tmp_path / "crontab"
    crontab.write_text(
        f"MAILTO=ops@example.com\n0 2 * * * docker run --rm -e MODE=full {REPO}:{TAG} echo hi >> /var/log/x\n"
        "@reboot docker run x\n"
    )
    words = ("--namespace", "team", "--timezone", "Europe/Berlin", "--size", "S")
    read = await run(api, "import", str(crontab), *words)
    assert read.exit_code == 0, read.output
    assert [line.split(" ")[0] for line in read.stderr.splitlines()] == [
        f"{crontab}:1:", f"{crontab}:2:", f"{crontab}:3:", str(crontab),
    ]  # fmt: skip
    assert read.stderr.endswith("(crontab): 1 job, 3 notes, 1 entry skipped.\n")
    assert await all_jobs(api) == {}
    looked = await run(api, "job", "import", str(crontab), *words, "--apply", "--dry-run")
    assert looked.stdout.endswith("Dry run: 1 to create. Nothing was changed.\n")
    assert await all_jobs(api) == {}
    done = await run(api, "import", str(crontab), *words, "--apply")
    assert done.stdout.endswith("1 created.\n")
    [job] = (await all_jobs(api)).values()
    assert (job["schedule_mode"], job["schedule_timezone"], job["resource_size"]) == (
        "0 2 * * *",
        "Europe/Berlin",
        "S",
    )
    assert (job["command"], job["runtime_vars"]) == ("echo hi", {"MODE": "full"})
    assert (await run(api, "apply", "-f", "-", given=read.stdout)).stdout == "1 unchanged.\n"


async def test_other_formats_are_recognised_from_standard_input_too(api: Api, tmp_path: Path):
    """And written where one wants, as YAML or with the notes as JSON."""
    manifest = (
        "kind: CronJob\nmetadata: {name: a}\nspec: {schedule: '0 5 * * *', timeZone: UTC, jobTemplate: "
        "{spec: {template: {spec: {nodeSelector: {x: y}, containers: [{image: 'x:1'}]}}}}}\n"
    )
    out = tmp_path / "jobs.yaml"
    written = await run(api, "import", "-", "-o", str(out), given=manifest)
    assert (written.exit_code, written.stdout) == (0, ""), written.output
    assert "name: a" in out.read_text()
    data = json.loads((await run(api, "import", "-", "--json", "--inactive", given=manifest)).stdout)
    assert [job["name"] for job in data["jobs"]] == ["a"]
    assert "is_schedule_active" not in data["jobs"][0]
    assert any("nodeSelector" in note["text"] for note in data["notes"])


@pytest.mark.parametrize(
    ("text", "words", "status", "said"),
    [
        ("hello", (), 1, "name it with --from"),
        ("a: [", ("--from", "cronjob"), 1, ":2: is not valid YAML"),
        ("jobs: []", (), 1, "run 'timeball apply -f' instead"),
        ("@reboot docker run x", (), 1, "no jobs could be imported"),
        ("@reboot docker run x", ("--apply",), 1, "no jobs could be imported"),
        ("@daily docker run x", ("--dry-run",), 2, "--dry-run works only with --apply"),
        ("@daily docker run x", ("--apply", "-o", "x"), 2, "--apply and --output cannot be combined"),
        ("@daily docker run x", ("--from", "quartz"), 2, "quartz"),
        ("@daily docker run x", ("--timezone", "Mars"), 1, "schedule_timezone"),
    ],
)
async def test_what_cannot_be_taken_over_is_refused(
    api: Api, tmp_path: Path, *, text: str, words: tuple[str, ...], status: int, said: str
):
    """With the reason."""
    path = tmp_path / "file"
    path.write_text(text)
    result = await run(api, "import", str(path), *words)
    assert (result.exit_code, said in result.stderr) == (status, True), result.output
    assert (await run(api, "import", str(tmp_path))).exit_code == 2
