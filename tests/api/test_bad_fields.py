"""Fields that cannot be accepted: each is named with its value, what is wrong with it, and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, check_problem

# field, value, a piece of the message, a piece of the remedy; a field with a dot is an entry of a mapping.
BAD: list[tuple[str, Any, str, str]] = [
    ("name", 5, "is not a string", '"5"'),
    ("priority", "high", "is not a whole number", "without quotes"),
    ("priority", 101, "is too large", "100"),
    ("priority", -101, "is too small", "-100"),
    ("priority", None, "is null", "remove it"),
    ("max_running", 0, "is too small", "1"),
    ("max_running", 1.5, "is not a whole number", "whole number"),
    ("retry_on", "exit_code", "is not a list", '["exit_code"]'),
    ("retry_on", None, "is not a list", '["exit_code"]'),
    ("retry_on", ["exit_code", "exit"], "at position 2", "image_pull_failed"),
    ("retry_on", ["timeout", "timeout"], "contains timeout twice", "once"),
    ("retry_on", [["timeout"]], "at position 1", "timeout"),
    ("name", None, "is null", "JSON string"),
    ("name", "", "is empty", "give the job a name"),
    ("name", " \t", "is empty", "name"),
    ("name", " a", "white space", "remove"),
    ("name", "a\nb", "line break", "remove"),
    ("name", "a\u2028b", "line break", "remove"),
    ("name", "a\x00b", "control character", "remove"),
    ("name", "x" * 201, "too long", "200"),
    ("name", ["a"], "is not a string", "JSON string"),
    ("namespace", "", "is not a valid name of a namespace", "letters"),
    ("namespace", "a b", "is not a valid name of a namespace", "letters"),
    ("namespace", "a/b", "is not a valid name of a namespace", "letters"),
    ("namespace", None, "is null", "remove it"),
    ("docker_image_repo", "", "is not a valid name of an image repository", "busybox"),
    (
        "docker_image_repo",
        "registry.example.com:5000/team/image:1.2",
        "is not a valid name of an image repository",
        '"docker_image_repo": "registry.example.com:5000/team/image" and "docker_image_tag": "1.2"',
    ),
    (
        "docker_image_repo",
        "Registry.example.com/Team/App:1.2",
        "is not a valid name of an image repository",
        '"docker_image_repo": "registry.example.com/team/app" and "docker_image_tag": "1.2"',
    ),
    ("docker_image_repo", "BusyBox", "is not a valid name of an image repository", "lower case: busybox"),
    (
        "docker_image_repo",
        "https://example.com/a",
        "is not a valid name of an image repository",
        "remove the scheme",
    ),
    (
        "docker_image_repo",
        "a@sha256:" + "0" * 64,
        "is not a valid name of an image repository",
        "remove '@' and what follows it",
    ),
    ("docker_image_repo", "-busybox", "is not a valid name of an image repository", "busybox"),
    ("docker_image_repo", "a//b", "is not a valid name of an image repository", "busybox"),
    ("docker_image_repo", "a b", "is not a valid name of an image repository", "busybox"),
    ("docker_image_repo", "图像", "is not a valid name of an image repository", "busybox"),
    ("docker_image_repo", "a\n", "is not a valid name of an image repository", "busybox"),
    ("docker_image_repo", "x" * 300, "too long", "255"),
    ("docker_image_repo", None, "is null", "JSON string"),
    ("docker_image_repo", True, "is not a string", '"true"'),
    ("docker_image_tag", "", "is not a valid image tag", "letters"),
    ("docker_image_tag", "-1", "is not a valid image tag", "letters"),
    ("docker_image_tag", "a:b", "is not a valid image tag", "letters"),
    ("docker_image_tag", "x" * 129, "is not a valid image tag", "128"),
    ("docker_image_tag", 1.5, "is not a string", '"1.5"'),
    ("docker_image_tag", None, "is null", "remove it"),
    ("resource_size", "XXXL", "is not a configured size", "XXS, XS, S, M, L, XL"),
    ("resource_size", "xxs", "is not a configured size", "XXS"),
    ("resource_size", "", "is not a configured size", "XXS"),
    ("resource_size", 1, "is not a string", '"1"'),
    ("resource_size", None, "is null", "remove it"),
    ("region_name", "MOON", "is not a configured region", "LOCAL, BEIJING1"),
    ("region_name", "", "is not a configured region", "LOCAL"),
    ("region_name", None, "is null", "remove it"),
    ("is_schedule_active", "true", "neither true nor false", "without quotes"),
    ("is_schedule_active", 1, "neither true nor false", "true or false"),
    ("is_schedule_active", None, "is null", "remove it"),
    ("email_enabled", "no", "neither true nor false", "without quotes"),
    ("schedule_mode", 5, "is not a string", '"5"'),
    ("schedule_mode", "", "empty", "R5/"),
    ("schedule_mode", "every day", "position", ""),
    ("schedule_timezone", "", "", ""),
    ("schedule_timezone", "Mars/Olympus", "", ""),
    ("schedule_timezone", "+02:00", "", ""),
    ("schedule_timezone", 1, "is not a string", '"1"'),
    ("runtime_vars", None, "is null", "remove it"),
    ("runtime_vars", [], "is not an object", '{"NAME": "value"}'),
    ("runtime_vars", '{"A": "1"}', "is not an object", '{"NAME": "value"}'),
    ("runtime_vars.PORT", 80, "is not a string", '"80"'),
    ("runtime_vars.DEBUG", True, "is not a string", '"true"'),
    ("runtime_vars.EMPTY", None, "is null", "JSON string"),
    ("runtime_vars.str", {"a": 1}, "is not a reference to a secret", '{"secret": "name"}'),
    ("runtime_vars.A=B", "x", "is not a valid name of a variable", "letters"),
    ("runtime_vars.DB HOST", "x", "is not a valid name of a variable", "letters"),
    ("runtime_vars.", "x", "is not a valid name of a variable", "letters"),
    ("runtime_vars.1A", "x", "is not a valid name of a variable", "letters"),
    ("runtime_vars.主机", "x", "is not a valid name of a variable", "letters"),
    ("runtime_vars.NUL", "a\x00b", "NUL", "remove"),
    ("runtime_vars", {"A": "x" * 140_000}, "bytes in A", "bytes per variable"),
    ("runtime_vars", {f"V{n}": "" for n in range(1001)}, "has 1001 entries", "at most 1000"),
    ("labels", [], "is not an object", "JSON object"),
    ("labels.a b", "x", "is not a valid name of a label", "letters"),
    ("labels.a", "x\ny", "line break", "remove"),
    ("labels.a", "x" * 1001, "has 1001 characters", "1000"),
    ("labels.a", 1, "is not a string", '"1"'),
    ("misfire_policy", "sometimes", "is not an allowed value", "'latest', 'skip' or 'all'"),
    ("misfire_policy", None, "", ""),
    (
        "concurrency_policy",
        "Forbid",
        "is not an allowed value",
        "'allow', 'forbid', 'queue' or 'replace'",
    ),
    ("retention_days", -1, "is too small", "use 0 or more"),
    ("retention_count", "many", "is not a whole number", "whole number"),
    ("retention_log_bytes", 2**63, "is too large", "use 4611686018427387904 or less"),
    ("pull_policy", 1, "is not an allowed value", "'always'"),
    ("misfire_grace_seconds", -1, "too small", "0 or more"),
    ("misfire_grace_seconds", "1", "is not a whole number", "without quotes"),
    ("misfire_grace_seconds", None, "is null", "remove it"),
    ("timeout_seconds", 0, "too small", "1 or more"),
    ("timeout_seconds", 1.5, "is not a whole number", "whole number"),
    ("timeout_seconds", True, "is not a whole number", "whole number"),
    ("timeout_seconds", 10**12, "too large", "or less"),
    ("timeout_seconds", 10**300, "too large", "or less"),
    ("stop_grace_seconds", 3601, "too large", "3600 or less"),
    ("max_retries", 101, "too large", "100 or less"),
    ("log_limit_bytes", 1023, "too small", "1024 or more"),
    ("log_limit_bytes", 1024**4 + 1, "too large", "1099511627776 or less"),
    ("log_limit_bytes", "1 GiB", "is not a whole number", "whole number"),
    ("retry_backoff_seconds", [], "is not a whole number", "whole number"),
]


def nested(field: str, value: Any) -> dict[str, Any]:
    """The body in which a field with a dot is an entry of a mapping."""
    outer, dot, inner = field.partition(".")
    return {outer: {inner: value}} if dot else {outer: value}


async def test_a_bad_field_is_named_with_value_message_and_remedy(api: Api, subtests: pytest.Subtests):
    """On creation as on change: 400, one entry, for the field that is wrong, and nothing is stored."""
    job = await api.create()
    for field, value, message, remedy in BAD:
        good = {"name": "n", "docker_image_repo": "busybox"}
        for method, path, body in (
            ("POST", "/v1/jobs", good | nested(field, value)),
            ("PATCH", f"/v1/jobs/{job['id']}", nested(field, value)),
        ):
            with subtests.test(field=field, value=repr(value)[:60], method=method):
                answer = await api.send(method, path, body)
                assert answer.status == 400
                errors = answer.errors()
                assert set(errors) == {field or "body"}
                entry = errors[field]
                assert message in entry["message"]
                assert remedy in entry["remedy"]
                assert field in answer.body["detail"]
                assert entry["remedy"] in answer.body["detail"]
                if "name of a variable" in message or "name of a label" in message:
                    assert entry["value"] == field.partition(".")[2]
                elif len(str(value)) < 100:
                    assert entry["value"] == value
                else:
                    assert len(str(entry["value"])) <= 201
    assert await api.job(job["id"]) == job
    assert (await api.get("/v1/jobs")).body["count"] == 1


async def test_all_that_is_wrong_is_said_at_once(api: Api):
    """Every wrong field has an entry of its own, and missing ones too."""
    answer = await api.post(
        "/v1/jobs",
        {"docker_image_repo": "A", "max_retries": -1, "nmae": "x", "runtime_vars": {"A": 1, "B C": ""}},
    )
    assert answer.status == 400
    errors = answer.errors()
    expected = {"name", "docker_image_repo", "max_retries", "nmae", "runtime_vars.A", "runtime_vars.B C"}
    assert set(errors) == expected
    assert errors["name"]["message"] == "is required"
    assert "'name'" in errors["nmae"]["remedy"]


async def test_what_only_the_daemon_can_judge_is_said_at_once_as_well(api: Api):
    """Size, region, command and schedule are judged together."""
    answer = await api.post(
        "/v1/jobs",
        {
            "name": "n",
            "docker_image_repo": "busybox",
            "resource_size": "HUGE",
            "region_name": "MOON",
            "command": "'",
            "schedule_mode": "R-1/",
        },
    )
    assert set(answer.errors()) == {"resource_size", "region_name", "command", "schedule_mode"}


async def test_required_fields_are_asked_for_by_name(api: Api):
    """An empty object lacks a name and a repository."""
    answer = await api.post("/v1/jobs", {})
    assert answer.status == 400
    assert {name: entry["message"] for name, entry in answer.errors().items()} == {
        "name": "is required",
        "docker_image_repo": "is required",
    }


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"docker_image_tag": ":"}, "docker_image_tag", "is not a valid image tag"),
        ({"resource_size": "HUGE"}, "resource_size", "is not a configured size"),
        ({"resource_size": ""}, "resource_size", "is not a configured size"),
        ({"runtime_vars": {"PORT": 80}}, "runtime_vars.PORT", "is not a string"),
        ({"runtime_vars": {"A B": ""}}, "runtime_vars.A B", "is not a valid name of a variable"),
        ({"region_name": "LOCAL"}, "region_name", "is not a field of a trigger"),
        ({"docker_image_repo": "busybox"}, "docker_image_repo", "is not a field of a trigger"),
        ({"commnd": "x"}, "commnd", "is not a field of a trigger"),
        ([], "body", "is not an object"),
        (5, "body", "is not an object"),
        ("x", "body", "is not an object"),
    ],
)
async def test_a_bad_override_is_refused_and_makes_no_exec(api: Api, body: Any, field: str, message: str):
    """A trigger's body is judged as strictly as a job's."""
    job = await api.create()
    answer = await api.post(f"/v1/jobs/{job['id']}/execs", body)
    assert answer.status == 400
    assert message in answer.errors()[field]["message"]
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 0


async def test_bodies_where_none_is_expected_are_not_silently_dropped(api: Api):
    """A stop has nothing to say: an empty body or object is fine, a field is not."""
    job = await api.create(command="patient")
    one = await api.trigger(job["id"])
    path = f"/v1/jobs/{job['id']}/execs/{one['id']}/stop"
    answer = await api.post(path, {"signal": "SIGUSR1"})
    assert answer.status == 400
    assert set(answer.errors()) == {"signal"}
    assert (await api.post(path, {})).status == 202


async def test_a_force_that_is_neither_true_nor_false_is_refused(api: Api):
    """`?force=maybe` is refused wherever force is a parameter, and nothing happens."""
    job = await api.create(command="true")
    answer = await api.post(f"/v1/jobs/{job['id']}/execs?force=maybe")
    assert answer.status == 400
    assert answer.errors()["force"]["value"] == "maybe"
    ended = await api.run(job["id"])
    answer = await api.delete(f"/v1/jobs/{job['id']}/execs/{ended['id']}?force=2")
    assert answer.status == 400
    check_problem(answer)
    assert (await api.get(f"/v1/jobs/{job['id']}/execs")).body["count"] == 1
