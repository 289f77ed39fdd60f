"""Who may ask: tokens, schemes, and what answers without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.conftest import Api, check_problem


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/1", "/v1/schedules/preview", "/nothing", "/v1/jobs/1/execs"]
)
async def test_without_a_token_nothing_is_told(api: Api, path: str):
    """401 with a challenge and where the first token is, even where nothing is."""
    answer = await api.get(path, token=None)
    assert answer.status == 401
    check_problem(answer)
    assert answer.headers["WWW-Authenticate"].startswith("Token ")
    assert "Authorization: Token <token>" in answer.body["detail"]
    assert "admin.token" in answer.body["detail"]


@pytest.mark.parametrize("scheme", ["Token", "Bearer", "token", "BEARER", "bEaReR"])
async def test_a_token_is_sent_with_either_scheme_in_any_case(api: Api, scheme: str):
    """`Token` as the documented API has it, `Bearer` as others do; schemes know no case (RFC 9110, 11.1)."""
    answer = await api.get("/v1/jobs", token=None, headers={"Authorization": f"{scheme} {api.token}"})
    assert answer.status == 200


@pytest.mark.parametrize(
    "header",
    ["", "Token", "Token ", "Basic YWRtaW46eA==", "{token}", "Token{token}", "Token {token}x", "Token wrong",
     "Token {token} x", "Token \udcff\udcfe", "Token tøken", "Token " + "x" * 5_000, "Digest {token}"],
)  # fmt: skip
async def test_a_wrong_token_is_refused(api: Api, header: str):
    """401 for whatever is not a token that was given out."""
    value = header.replace("{token}", api.token)
    answer = await api.get("/v1/jobs", token=None, headers={"Authorization": value})
    assert answer.status == 401
    check_problem(answer)
    assert api.token not in answer.text


async def test_a_refused_request_changes_nothing(api: Api):
    """Neither body nor method is looked at before the token."""
    for method, path in (("POST", "/v1/jobs"), ("DELETE", "/v1/jobs"), ("PUT", "/x")):
        answer = await api.send(method, path, {"name": "n", "docker_image_repo": "b"}, token="wrong")
        assert answer.status == 401
    assert (await api.get("/v1/jobs")).body["count"] == 0


async def test_the_administrators_token_is_for_its_owner_alone(api: Api, tmp_path: Path):
    """The file is readable by nobody else, and its token is recognisable."""
    file = tmp_path / "admin.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() == api.token
    assert api.token.startswith("tbl_")
