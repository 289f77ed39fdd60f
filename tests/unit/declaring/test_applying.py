"""What becomes of a plan where the daemon goes away in the middle of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.cli.applying import ApplyOptions, carry_out
from api.cli.declaring.form import read_jobs
from api.client import ApiError, ApiResponse, Client, ClientError, UnreachableError

TEXT = "jobs:\n" + "".join(f"- {{name: {name}, namespace: team, docker_image_repo: x}}\n" for name in "abc")


class Daemon(Client):
    """Answers like one until it is asked to make a certain job."""

    def __init__(self, error: ClientError) -> None:
        super().__init__("http://127.0.0.1:1", None)
        self.error = error
        self.made: list[str] = []

    def request(self, method: str, path: str, **more: Any) -> ApiResponse:
        """One request."""
        found: Any = {"results": [], "next": None}
        if method == "POST":
            if more["body"]["name"] == "b":
                raise self.error
            self.made.append(more["body"]["name"])
            found = {"id": 1}
        elif path == "/v1/about":
            found = {"default_size": "XXS", "default_region": "LOCAL"}
        return ApiResponse(200, {}, json.dumps(found).encode())


@pytest.mark.parametrize(
    "error", [UnreachableError("It is gone"), ApiError(503, {}, "It is full"), ApiError(401, {}, "Who?")]
)
def test_what_follows_is_not_tried_and_everything_is_told(
    error: ClientError, capsys: pytest.CaptureFixture[str]
):
    """The error is the daemon's own, with the status that goes with it."""
    jobs, _ = read_jobs(TEXT, "x")
    daemon = Daemon(error)
    with pytest.raises(type(error)) as raised:
        carry_out(daemon, jobs, ApplyOptions())
    assert daemon.made == ["a"]
    assert "applied: team/a" in str(raised.value)
    assert "skipped: team/c" in str(raised.value)
    assert capsys.readouterr().out.endswith("1 created, 1 failed, 1 skipped.\n")


def test_a_refusal_of_one_job_lets_the_others_be_made():
    """It has to do with that job alone."""
    jobs, _ = read_jobs(TEXT, "x")
    daemon = Daemon(ApiError(409, {}, "There is one"))
    with pytest.raises(ClientError, match=r"x:3: team/b: There is one"):
        carry_out(daemon, jobs, ApplyOptions())
    assert daemon.made == ["a", "c"]
