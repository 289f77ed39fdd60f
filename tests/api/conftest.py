"""A whole daemon in the test's own event loop, its API behind a test client, its containers in memory."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDictProxy
from pytest_aiohttp.plugin import AiohttpClient
from sqlalchemy.engine import Connection
from yarl import URL

from api.server.app import build_app
from api.server.runner import ServerRunner
from scheduler.access.passwords import Passwords
from scheduler.access.throttle import Throttle
from scheduler.daemon import Daemon
from scheduler.notify.options import HooksSettings
from scheduler.settings.parts import NamespaceSettings, RegionSettings
from scheduler.settings.settings import Settings
from scheduler.store.database import Database
from scheduler.usecases.parts import Parts
from tests.lab.fake_engine import FAKE_IMAGE, FakeEngine, FakeImage
from tests.lab.fake_programs import prints, runs_out_of_memory, waits, waits_for_stop

#: Seconds that anything may take to come about; nothing here waits for the clock.
PATIENCE = 60.0
REPO, TAG = FAKE_IMAGE.split(":")
#: The image of the documented examples.
SEED_REPO = "index.alauda.cn/chennanfei/job_image"
#: How large a body the daemon under test accepts.
LARGEST_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.raw.decode(errors="replace")

    @property
    def body(self) -> Any:
        """The body as JSON."""
        return json.loads(self.raw)

    def errors(self) -> dict[str, dict[str, Any]]:
        """The entries of a problem, by the field that each names; checks the problem's shape as well."""
        check_problem(self)
        return {entry["field"]: entry for entry in self.body.get("errors", [])}


def check_problem(answer: Answer) -> None:
    """Assert that an answer is a problem as RFC 9457 and the contract describe it."""
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json", answer
    body = answer.body
    assert set(body) - {"errors"} == {"type", "title", "status", "detail"}, body
    assert body["status"] == answer.status
    assert body["type"].startswith("urn:timeball:problem:")
    assert body["title"]
    assert body["detail"]
    for entry in body.get("errors", []):
        assert set(entry) == {"field", "value", "message", "remedy"}, entry
        assert entry["field"], entry
        assert entry["message"], entry
        assert entry["remedy"], entry


class Server(TestServer):
    """A test server that runs the application as the daemon does."""

    async def _make_runner(self, **kwargs: Any) -> ServerRunner:
        return ServerRunner(self.app, **kwargs | {"handler_cancellation": True})


class Api:
    """The API as a user sees it, with what tests say most often."""

    def __init__(self, client: TestClient[web.Request, web.Application], token: str) -> None:
        self.client = client
        self.token = token

    async def send(
        self,
        method: str,
        path: str | URL,
        body: object = None,
        *,
        raw: bytes | str | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> Answer:
        """Send a request and read the answer to its end.

        Args:
            method: of the request.
            path: with its query.
            body: is sent as JSON; None sends none.
            raw: is sent as it is, as JSON by its header.
            headers: more headers; they win over the usual ones.
            token: another one than the administrator's; None for none.
        """
        sent = {} if token is None else {"Authorization": f"Token {token or self.token}"}
        data = raw if raw is not None else None if body is None else json.dumps(body)
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        skipped = () if "Content-Type" in sent else ("Content-Type",)
        async with self.client.request(
            method, path, data=data, headers=sent, allow_redirects=False, skip_auto_headers=skipped
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str | URL, **more: Any) -> Answer:
        """GET."""
        return await self.send("GET", path, **more)

    async def post(self, path: str, body: object = None, **more: Any) -> Answer:
        """POST."""
        return await self.send("POST", path, body, **more)

    async def put(self, path: str, body: object = None, **more: Any) -> Answer:
        """PUT."""
        return await self.send("PUT", path, body, **more)

    async def delete(self, path: str, **more: Any) -> Answer:
        """DELETE."""
        return await self.send("DELETE", path, **more)

    async def create(self, name: str = "job", **fields: Any) -> dict[str, Any]:
        """Create a job that runs the fake image, and return it."""
        body = {"name": name, "docker_image_repo": REPO, "docker_image_tag": TAG, **fields}
        answer = await self.post("/v1/jobs", body)
        assert answer.status == 201, answer.text
        return answer.body

    async def job(self, job_id: int) -> dict[str, Any]:
        """One job as it is now."""
        answer = await self.get(f"/v1/jobs/{job_id}")
        assert answer.status == 200, answer.text
        return answer.body

    async def change(self, job_id: int, **fields: Any) -> dict[str, Any]:
        """Change a job, and return it."""
        answer = await self.put(f"/v1/jobs/{job_id}", fields)
        assert answer.status == 200, answer.text
        return answer.body

    async def trigger(self, job_id: int, body: object = None, query: str = "") -> dict[str, Any]:
        """Trigger a run, and return it."""
        answer = await self.post(f"/v1/jobs/{job_id}/execs{query}", body)
        assert answer.status == 201, answer.text
        return answer.body

    async def exec(self, job_id: int, exec_id: str) -> dict[str, Any]:
        """One run as it is now."""
        answer = await self.get(f"/v1/jobs/{job_id}/execs/{exec_id}")
        assert answer.status == 200, answer.text
        return answer.body

    async def logs(self, job_id: int, exec_id: str, query: str = "") -> list[dict[str, Any]]:
        """What a run printed."""
        answer = await self.get(f"/v1/jobs/{job_id}/execs/{exec_id}/logs{query}")
        assert answer.status == 200, answer.text
        return answer.body

    async def until_status(self, job_id: int, exec_id: str, *wanted: str) -> dict[str, Any]:
        """The run once it has one of the statuses."""
        return await until(lambda: self.exec(job_id, exec_id), lambda one: one["status"] in wanted)

    async def until_ended(self, job_id: int, exec_id: str) -> dict[str, Any]:
        """The run once it has ended."""
        return await self.until_status(job_id, exec_id, "S", "F", "C")

    async def run(self, job_id: int, body: object = None) -> dict[str, Any]:
        """Trigger a run and return it once it has ended."""
        return await self.until_ended(job_id, (await self.trigger(job_id, body))["id"])


async def until(look: Callable[[], Awaitable[Any]], done: Callable[[Any], bool] = bool) -> Any:
    """What `look` returns once `done` says so of it; fails with the last look when patience ends."""
    last = None
    try:
        async with asyncio.timeout(PATIENCE):
            while not done(last := await look()):  # noqa: ASYNC110 - the API has no event for it
                await asyncio.sleep(0.002)
    except TimeoutError:
        pytest.fail(f"it did not come about within {PATIENCE} s; last seen: {last!r}")
    return last


@dataclass(frozen=True, slots=True)
class World:
    """A daemon and everything about it that tests may use.

    Attributes:
        parts: of the daemon.
        engines: the engine of every region, by the region's name.
    """

    api: Api
    daemon: Daemon
    parts: Parts
    engines: Mapping[str, FakeEngine]

    @property
    def engine(self) -> FakeEngine:
        """The default region's engine."""
        return self.engines["LOCAL"]


def furnish(engine: FakeEngine) -> FakeEngine:
    """Put onto an engine what the tests run."""
    engine.images[f"{SEED_REPO}:latest"] = FakeImage(command=("own",))
    engine.images[f"{SEED_REPO}:trusty"] = FakeImage(command=("own",))
    engine.images[f"{REPO}:own"] = FakeImage(command=("own",))
    engine.programs |= {
        ("own",): prints(b"the image's own command\n"),
        ("bash",): prints(b"bash was here\n"),
        ("/bin", "bash"): prints(err=b"bash: cannot execute\n", exit_code=126),
        ("true",): prints(),
        ("false",): prints(exit_code=1),
        ("greet",): prints(b"hello\nworld\n", b"careful\n"),
        ("hang",): waits(out=b"hanging\n"),
        ("patient",): waits_for_stop(out=b"up\n", last=b"down\n", exit_code=143),
        ("greedy",): runs_out_of_memory,
        ("say", "two words", "it's"): prints(b"said\n"),
    }
    return engine


def quick_passwords() -> Passwords:
    """Hashes that cost nothing, for what is tested here is who may do what."""
    return Passwords(time_cost=1, memory_kib=8)


def _never_sync(database: Database, connection: Connection, *, durable: bool) -> None:  # noqa: ARG001
    """No power is cut here; syncs would only take time."""
    connection.connection.driver_connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
async def world(
    tmp_path: Path, migrated: Path, aiohttp_client: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A started daemon with two regions, its API and its engines."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(Database, "_set_durability", _never_sync)
    # No failed attempt is forgotten meanwhile, however long the others take.
    monkeypatch.setattr(Throttle.__init__, "__defaults__", (lambda: 0.0,))
    shutil.copy(migrated, tmp_path / "timeball.db")
    settings = Settings(
        data_dir=tmp_path,
        regions={"BEIJING1": RegionSettings(url="unix:///nowhere")},
        namespaces={"small": NamespaceSettings(max_running=2)},
        max_body_bytes=LARGEST_BODY,
        host="127.0.0.1",
        hooks=HooksSettings(allow=["127.0.0.1"]),
    )
    engines: dict[str, FakeEngine] = {}

    def make_engine(region: RegionSettings, installation: str) -> FakeEngine:
        name = "BEIJING1" if "nowhere" in region.url else "LOCAL"
        engines[name] = furnish(FakeEngine(installation=installation, cpus=64, memory_bytes=64 << 30))
        return engines[name]

    daemon = Daemon(settings, make_engine=make_engine, passwords=quick_passwords())
    service, tokens = await daemon.start()
    app = build_app(service, tokens, max_body_bytes=LARGEST_BODY)
    client = await aiohttp_client(Server(app))
    api = Api(client, (tmp_path / "admin.token").read_text().strip())
    yield World(api, daemon, service._parts, engines)
    await client.close()
    await daemon.stop()
    assert daemon.failure is None, daemon.failure


@pytest.fixture
def api(world: World) -> Api:
    """The API of a started daemon."""
    return world.api


@pytest.fixture
def engine(world: World) -> FakeEngine:
    """The engine of the default region."""
    return world.engine
