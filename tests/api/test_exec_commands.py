"""`timeball runs`: repeats and compares runs, and stops or deletes several at once."""

from __future__ import annotations

import json
import re

import pytest

from api.cli import runs
from tests.api.conftest import Api, World
from tests.api.test_access_commands import has_settled, run, run_json
from tests.api.test_commands import make, run_apart

__all__ = ["has_settled"]


async def test_a_run_is_done_again_and_followed_like_any_other(api: Api):
    """With changes for it alone; it ends as the run does."""
    job = await make(api, "greeting", "greet", "-e", "A=1")
    one = (await api.run(job))["id"]
    again = await run_apart(api, "runs", "replay", one, "-e", "B=2")
    assert (again.exit_code, again.stdout) == (0, "hello\nworld\n"), again.stderr
    assert again.stderr.rstrip().endswith("The run succeeded.")
    newest = (await api.get("/v1/execs?page_size=1")).body["results"][0]
    assert (newest["replay_of"], newest["runtime_vars"]) == (one, {"A": "1", "B": "2"})
    bad = await run_apart(api, "runs", "replay", one, "--command", "false", "--json")
    assert (bad.exit_code, json.loads(bad.stdout)["replay_of"]) == (1, one)
    left = await run_apart(api, "runs", "replay", one, "--no-follow", "-q")
    assert (await api.until_ended(job, left.stdout.strip()))["replay_of"] == one


async def test_what_differs_is_shown_side_by_side(api: Api):
    """Or that nothing does; secrets by their names."""
    await api.put("/v1/secrets/db?namespace=admin", {"value": "hunter2-hunter2"})
    job = await api.create(command="true", runtime_vars={"A": "1", "P": {"secret": "db"}, "Z": ""})
    one = await api.run(job["id"])
    same = (await api.post(f"/v1/jobs/{job['id']}/execs/{one['id']}/replay")).body["id"]
    await api.until_ended(job["id"], same)
    alike = await run_apart(api, "runs", "diff", one["id"], same)
    assert (alike.exit_code, alike.stdout[:16]) == (0, "No differences: ")
    await api.change(job["id"], command="false", runtime_vars={"A": "2", "B": "3"}, resource_size="S")
    other = await api.run(job["id"])
    shown = (await run_apart(api, "runs", "diff", one["id"], other["id"])).stdout
    for line in (
        r"^ +A +B$",
        rf"^run +{one['id']} +{other['id']}$",
        r'^command +\["true"\] +\["false"\]$',
        r"^resource_size +XXS +S$",
        r"^memory_bytes +64 MiB +256 MiB$",
        r"^runtime_vars\.A +1 +2$",
        r"^runtime_vars\.B +- +3$",
        r"^runtime_vars\.P +secret db +-$",
        r'^runtime_vars\.Z +"" +-$',
        r"^status +succeeded +failed$",
        r"^exit_code +0 +1$",
    ):
        assert re.search(line, shown, re.MULTILINE), (line, shown)
    assert "hunter2" not in shown
    names = (await run_apart(api, "runs", "diff", one["id"], other["id"], "-q")).stdout.split()
    assert {"command", "status", "runtime_vars.P"} < set(names)
    assert (await run_json(api, "runs", "diff", one["id"], other["id"]))["is_same"] is False
    missing = await run(api, "runs", "diff", one["id"], "x/../y")
    assert (missing.exit_code, "x/../y" in missing.stderr) == (1, True)


async def test_many_runs_are_removed_part_by_part(world: World, monkeypatch: pytest.MonkeyPatch):
    """After a question, unless that is answered before; those of other jobs stay, and a dry run removes none."""
    monkeypatch.setattr(runs, "BATCH", 2)
    api = world.api
    job, other = await make(api, "many", "true"), await make(api, "other", "true")
    ids = [(await api.run(job))["id"] for _ in range(5)]
    kept = (await api.run(other))["id"]
    dry = await run(api, "runs", "delete", "--job", "many", "--dry-run")
    assert set(ids) <= set(dry.stdout.split())
    asked = await run(api, "runs", "delete", "--job", "many", given="n\n")
    assert (asked.exit_code, "Delete 5 runs" in asked.stderr) == (1, True)
    assert (await api.get("/v1/execs")).body["count"] == 6
    done = await run_apart(api, "runs", "delete", "--job", "many", "--status", "succeeded", "-y", "--json")
    found = json.loads(done.stdout)
    assert (found["matched"], set(found["execs"]), found["has_more"]) == (5, set(ids), False)
    assert [one["id"] for one in (await api.get("/v1/execs")).body["results"]] == [kept]
    assert (await run_apart(api, "runs", "delete", "--all", "-y")).stdout == "Deleted 1 run.\n"


async def test_many_runs_are_stopped_at_once(api: Api):
    """Those that the filters choose."""
    job = await make(api, "long", "patient")
    ids = [(await api.trigger(job))["id"] for _ in range(2)]
    for one in ids:
        await api.until_status(job, one, "R")
    dry = await run_apart(api, "runs", "stop", "--job", "long", "--dry-run")
    assert set(dry.stdout.split()) == set(ids)
    assert (await run_apart(api, "runs", "stop", "--job", "long", "-y")).stdout == "Stopping 2 runs.\n"
    for one in ids:
        assert (await api.until_ended(job, one))["status"] == "C"


async def test_how_many_one_request_removes_can_be_bounded(api: Api):
    """The oldest first; whether there are more is said."""
    job = await make(api, "many", "true")
    ids = [(await api.run(job))["id"] for _ in range(3)]
    found = (await api.delete("/v1/execs?all=true&limit=2")).body
    assert (found["execs"], found["has_more"]) == (ids[:2], True)
    for wrong in ("0", "10001", "x"):
        answer = await api.delete(f"/v1/execs?all=true&limit={wrong}")
        assert answer.status == 400
        assert "limit" in answer.errors()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("delete",), "No run is selected"),
        (("stop",), "No run is selected"),
        (("delete", "00000000-0000-0000-0000-000000000007", "--all"), "not both"),
        (("stop", "00000000-0000-0000-0000-000000000007", "--status", "running"), "not both"),
        (("delete", "--all", "--force", "-y"), "--force works only with a single run"),
        (("list", "--status", "runing"), "Did you mean 'running'?"),
        (("repaly", "x"), "Did you mean 'replay'?"),
    ],
)
async def test_what_is_unclear_is_asked_back(api: Api, words: tuple[str, ...], said: str):
    """As wrong usage, and nothing is done."""
    result = await run(api, "runs", *words)
    assert (result.exit_code, said in result.stderr) == (2, True), result.output


async def test_exec_is_another_name_of_runs(api: Api):
    """With the same commands, options, output and exit statuses; the list of commands says so."""
    job = await make(api, "greeting", "true")
    ended = (await api.run(job))["id"]
    for words in (("list", "-q"), ("show", ended, "--json"), ("list", "--status", "nonsense"), ("stop",)):
        by_name, by_alias = await run(api, "runs", *words), await run(api, "exec", *words)
        assert (by_alias.exit_code, by_alias.stdout) == (by_name.exit_code, by_name.stdout)
        assert by_alias.stderr.replace("exec", "runs") == by_name.stderr
    assert re.search(r"^ +exec +Alias of runs\.$", (await run(api, "--help")).stdout, re.MULTILINE)
    assert (await run(api, "exec", "delete", ended)).stdout == f"Deleted run {ended}.\n"
