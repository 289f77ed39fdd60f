"""Every route of the API, and who may use it: the table that `test_permissions` holds against the application.

A new route needs a line in `TABLE`: `"GET /v1/things/{thing_id}": Entry(VIEWER)` says the lowest role that may
call it. What a request needs beside the path is made by the `Scene`; a new placeholder of a path gets a line in
`Scene.values`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.access.callers import Role
from tests.api.conftest import REPO, TAG, Api

VIEWER, OPERATOR, EDITOR, ADMIN = Role
#: Stands in whatever the other namespace holds, and so must never be in an answer to who is bound to this one.
MARK: Final = "zebra"
LOG_IN: Final = "generate-api-token"
PASSWORD: Final = "correct horse"
OWN, FOREIGN = "mine", "theirs"


@dataclass(frozen=True)
class Scene:
    """A namespace with one of everything; made anew for each request that changes something.

    Attributes:
        namespace: where it all lies.
        values: what stands for each placeholder of a path.
        number: differs from that of every other scene, for names.
    """

    namespace: str
    values: Mapping[str, Any]
    number: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def absent(self) -> Mapping[str, str]:
        """Values of the same form for which nothing exists."""
        return {
            name: str(uuid.UUID(int=7))
            if name.endswith("exec_id")
            else f"msg_{7:032x}"
            if name == "delivery_id"
            else "987654"
            if name.endswith("_id")
            else "123456"
            if name.endswith("_number")
            else "nobody"
            for name in self.values
        }


#: What is made by a PUT to its name: for each placeholder the collection, the name, and the body's fields.
_PUT: Final = {
    "secret_name": ("secrets", "{}", ("value",)),
    "registry_host": ("registries", "{}.example.com", ("username", "password")),
}


async def _put(api: Api, name: str, namespace: str, route: str) -> dict[str, str]:
    found = {}
    for placeholder, (what, form, body) in _PUT.items():
        if f"{{{placeholder}}}" in route:
            found[placeholder] = key = form.format(name)
            answer = await api.put(f"/v1/{what}/{key}?namespace={namespace}", dict.fromkeys(body, name))
            assert answer.status == 201, answer.text
    return found


async def make_scene(api: Api, namespace: str, route: str) -> Scene:
    """What the route's path and body need, made by the administrator."""
    mark = MARK if namespace == FOREIGN else "job"
    name = f"{mark}-{uuid.uuid4().hex}"
    values: dict[str, Any] = {}
    if any(part in route for part in ("{job_id}", "{exec_", "POST /api/jobs", "/hooks")):
        job = await api.create(name, namespace=namespace, command="hang", labels={"holds": name})
        values["job_id"] = job["id"]
    if "{exec_id}" in route:
        values |= await make_execs(api, job["id"], route)
    if "{exec_number}" in route:
        answer = await api.post(f"/api-open/v1/workflows/{job['id']}/jobs")
        values["exec_number"] = answer.body["data"]["id"]
    if "{namespace}" in route:
        values["namespace"] = namespace
    if "{hook_id}" in route:
        values["hook_id"] = (await make("hooks", api, hook_body(job["id"], name)))["id"]
    if "{delivery_id}" in route:
        # Nobody listens there: the delivery has failed when this is answered.
        values["delivery_id"] = (await api.post(f"/v1/hooks/{values['hook_id']}/test")).body["id"]
    values |= await _put(api, name, namespace, route)
    if "{token_id}" in route:
        values["token_id"] = (await make("tokens", api, {"name": name, "namespace": namespace}))["id"]
    if "{username}" in route or LOG_IN in route:
        values["username"] = f"{mark}.{uuid.uuid4().hex}"
        await make(
            "users", api, {"username": values["username"], "password": PASSWORD, "namespace": namespace}
        )
    return Scene(namespace, values)


async def make_execs(api: Api, job_id: int, route: str) -> dict[str, Any]:
    """The runs that the route's path names."""
    values = {"exec_id": (await api.trigger(job_id))["id"]}
    if "{other_exec_id}" in route:
        values["other_exec_id"] = (await api.trigger(job_id))["id"]
    if route.endswith("/replay"):  # what waits cannot be replayed
        await api.until_status(job_id, values["exec_id"], "R")
    return values


async def make(what: str, api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """A new thing of the sort that `/v1/{what}` holds."""
    answer = await api.post(f"/v1/{what}", body)
    assert answer.status == 201, answer.text
    return answer.body


def log_in_body(scene: Scene) -> dict[str, Any]:
    """The scene's user logs in."""
    return {"username": scene.values["username"], "password": PASSWORD}


def user_body(scene: Scene) -> dict[str, Any]:
    """A user for the scene's namespace."""
    return {"username": f"u{scene.number}", "password": PASSWORD, "namespace": scene.namespace}


def hook_body(job_id: int, name: str) -> dict[str, Any]:
    """A hook that is told of what never happens to the scene's job."""
    return {
        "name": name,
        "url": "http://127.0.0.1:1025/",
        "subject_type": "job",
        "subject": job_id,
        "events": ["job:miss"],
    }


def job_body(scene: Scene) -> dict[str, Any]:
    """A job for the scene's namespace."""
    return {
        "name": f"new {scene.number}",
        "docker_image_repo": REPO,
        "docker_image_tag": TAG,
        "namespace": scene.namespace,
    }


@dataclass(frozen=True)
class Entry:
    """Who may call a route, and what it then answers.

    Attributes:
        role: the lowest role that may; None if it takes no token at all.
        status: what it answers to those who may.
        body: makes the request's body.
        query: what follows the path; `{namespace}` stands for the scene's.
        foreign: what it answers of another namespace to who is bound to this one. 404 where the path names a
            thing, 403 where the request names the namespace; None where nothing in the request is of a namespace.
        unbound: whether only who is bound to no namespace may, others being told 403 whatever they name.
    """

    role: Role | None
    status: int = 200
    body: Callable[[Scene], object] | None = None
    query: str = ""
    foreign: int | None = 404
    unbound: bool = False


PUBLIC: Final = Entry(None, foreign=None)

TABLE: Final[Mapping[str, Entry]] = {
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": PUBLIC,
    # They say what every daemon of this version answers, and nothing of this one.
    "GET /openapi.json": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/page.css": PUBLIC,
    "GET /docs/page.js": PUBLIC,
    "POST /v1/generate-api-token": Entry(None, body=log_in_body, foreign=None),
    "POST /v1/generate-api-token/": Entry(None, body=log_in_body, foreign=None),
    "GET /v1/me": Entry(VIEWER, foreign=None),
    "GET /v1/namespaces": Entry(VIEWER, foreign=None),
    "GET /v1/audit": Entry(ADMIN, foreign=None),
    "POST /v1/tokens": Entry(ADMIN, 201, lambda scene: {"namespace": scene.namespace}, foreign=403),
    "GET /v1/tokens": Entry(ADMIN, foreign=None),
    "GET /v1/tokens/{token_id}": Entry(ADMIN),
    "DELETE /v1/tokens/{token_id}": Entry(ADMIN, 204),
    "POST /v1/users": Entry(ADMIN, 201, user_body, unbound=True),
    "GET /v1/users": Entry(ADMIN, unbound=True),
    "GET /v1/users/{username}": Entry(ADMIN, unbound=True),
    "PUT /v1/users/{username}": Entry(ADMIN, body=lambda _: {"role": "viewer"}, unbound=True),
    "PATCH /v1/users/{username}": Entry(ADMIN, body=lambda _: {"role": "viewer"}, unbound=True),
    "DELETE /v1/users/{username}": Entry(ADMIN, 204, unbound=True),
    "GET /v1/secrets": Entry(VIEWER, query="?namespace={namespace}", foreign=403),
    "GET /v1/secrets/{secret_name}": Entry(VIEWER, query="?namespace={namespace}", foreign=403),
    "PUT /v1/secrets/{secret_name}": Entry(
        EDITOR, body=lambda _: {"value": "new"}, query="?namespace={namespace}", foreign=403
    ),
    "DELETE /v1/secrets/{secret_name}": Entry(EDITOR, 204, query="?namespace={namespace}", foreign=403),
    "POST /v1/secret-key/rotate": Entry(ADMIN, foreign=None, unbound=True),
    "GET /v1/registries": Entry(VIEWER, query="?namespace={namespace}", foreign=403),
    "GET /v1/registries/{registry_host}": Entry(VIEWER, query="?namespace={namespace}", foreign=403),
    "PUT /v1/registries/{registry_host}": Entry(
        EDITOR,
        body=lambda _: {"username": "new", "password": "new"},
        query="?namespace={namespace}",
        foreign=403,
    ),
    "DELETE /v1/registries/{registry_host}": Entry(EDITOR, 204, query="?namespace={namespace}", foreign=403),
    "GET /v1/about": Entry(VIEWER, foreign=None),
    "GET /v1/backup": Entry(ADMIN, foreign=None, unbound=True),
    "POST /v1/jobs": Entry(EDITOR, 201, job_body, foreign=403),
    "GET /v1/jobs": Entry(VIEWER, foreign=None),
    "GET /v1/jobs/{job_id}": Entry(VIEWER),
    "PUT /v1/jobs/{job_id}": Entry(EDITOR, body=lambda _: {"timeout_seconds": 7}),
    "PATCH /v1/jobs/{job_id}": Entry(EDITOR, body=lambda _: {"timeout_seconds": 8}),
    "DELETE /v1/jobs/{job_id}": Entry(EDITOR, 204),
    "GET /v1/jobs/{job_id}/schedule": Entry(VIEWER),
    "GET /v1/jobs/{job_id}/occurrences": Entry(VIEWER),
    "GET /v1/schedules/preview": Entry(VIEWER, query="?schedule=R1//PT1H", foreign=None),
    "POST /v1/jobs/{job_id}/execs": Entry(OPERATOR, 201),
    "GET /v1/jobs/{job_id}/execs": Entry(VIEWER),
    "GET /v1/jobs/{job_id}/execs/{exec_id}": Entry(VIEWER),
    "DELETE /v1/jobs/{job_id}/execs/{exec_id}": Entry(EDITOR, 204, query="?force=true"),
    "POST /v1/jobs/{job_id}/execs/{exec_id}/stop": Entry(OPERATOR, 202),
    "POST /v1/jobs/{job_id}/execs/{exec_id}/replay": Entry(OPERATOR, 201),
    "GET /v1/jobs/{job_id}/execs/{exec_id}/logs": Entry(VIEWER),
    "GET /v1/execs": Entry(VIEWER, query="?namespace={namespace}", foreign=200),
    "DELETE /v1/execs": Entry(EDITOR, query="?namespace={namespace}", foreign=403),
    "POST /v1/execs/stop": Entry(OPERATOR, 202, query="?namespace={namespace}", foreign=403),
    "GET /v1/execs/{exec_id}": Entry(VIEWER),
    "GET /v1/execs/{exec_id}/diff/{other_exec_id}": Entry(VIEWER),
    "GET /v1/stats": Entry(VIEWER, query="?namespace={namespace}", foreign=200),
    "GET /api/jobs": Entry(VIEWER, query="?projectId={namespace}", foreign=200),
    "POST /api/jobs": Entry(OPERATOR, 201, lambda scene: {"pipelineId": str(scene.values["job_id"])}),
    "GET /api/jobs/{exec_id}": Entry(VIEWER),
    "PATCH /api/jobs/{exec_id}": Entry(OPERATOR, body=lambda _: {"status": "cancelled"}),
    "DELETE /api/jobs/{exec_id}": Entry(EDITOR, 409),
    "GET /api/jobs/{exec_id}/traces": Entry(VIEWER),
    "POST /api/pipelines/{job_id}/run": Entry(OPERATOR, 201),
    "GET /ges/v1.0/{namespace}/graphs/{job_id}/jobs/status": Entry(VIEWER, foreign=400),
    "GET /ges/v1.0/{namespace}/graphs/{job_id}/jobs/{exec_id}/status": Entry(VIEWER, foreign=400),
    "DELETE /ges/v1.0/{namespace}/graphs/{job_id}/jobs/{exec_id}": Entry(OPERATOR, foreign=400),
    "GET /api-open/v1/jobs": Entry(VIEWER, foreign=None),
    "GET /api-open/v1/jobs/{exec_number}": Entry(VIEWER),
    "PUT /api-open/v1/jobs/{exec_number}/cancel": Entry(OPERATOR),
    "GET /api-open/v1/workflows/{job_id}/jobs": Entry(VIEWER),
    "POST /api-open/v1/workflows/{job_id}/jobs": Entry(OPERATOR),
    "GET /v1/jobs/{job_id}/mails": Entry(VIEWER),
    # The body names a thing, the job, as a path would.
    "POST /v1/hooks": Entry(
        EDITOR, 201, lambda scene: hook_body(scene.values["job_id"], f"new {scene.number}")
    ),
    "GET /v1/hooks": Entry(VIEWER, foreign=None),
    "GET /v1/hooks/{hook_id}": Entry(VIEWER),
    "PUT /v1/hooks/{hook_id}": Entry(EDITOR, body=lambda _: {"name": "other"}),
    "PATCH /v1/hooks/{hook_id}": Entry(EDITOR, body=lambda _: {"name": "other"}),
    "DELETE /v1/hooks/{hook_id}": Entry(EDITOR, 204),
    "POST /v1/hooks/{hook_id}/test": Entry(OPERATOR),
    "GET /v1/hooks/{hook_id}/deliveries": Entry(VIEWER),
    "GET /v1/hooks/{hook_id}/deliveries/{delivery_id}": Entry(VIEWER),
    "POST /v1/hooks/{hook_id}/deliveries/{delivery_id}/redeliver": Entry(OPERATOR, 202),
    "GET /v1/jobs/{job_id}/execs/{exec_id}/logs/export": Entry(VIEWER),
    "GET /v1/jobs/{job_id}/logs": Entry(VIEWER),
    "GET /v1/jobs/{job_id}/logs/export": Entry(VIEWER),
    "GET /v1/logs": Entry(VIEWER, query="?namespace={namespace}", foreign=403),
    "GET /v1/logs/export": Entry(VIEWER, query="?namespace={namespace}", foreign=403),
}
