"""The document at `/openapi.json`, and the page that shows it: complete, valid, and true of what is served."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from yarl import URL

from api.operations import examples
from api.operations.operation import operation_of
from api.operations.parameters import PATH
from tests.api.conftest import REPO, TAG, Api, until
from tests.api.permissions import OWN, TABLE, make, make_scene
from tests.api.test_permissions import routes_of

METHODS = {"get", "post", "put", "patch", "delete"}
PAGE = Path(__file__).parents[2] / "api" / "openapi" / "page"


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    """The document, as anybody gets it."""
    answer = await api.get("/openapi.json", token=None)
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return answer.body


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation, by the route's name."""
    for path, found in document["paths"].items():
        for method in found.keys() & METHODS:
            yield f"{method.upper()} {path}", found[method]


async def test_every_route_is_described(api: Api):
    """A route without a description is one that no client can find."""
    missing = {
        f"{route.method} {route.resource.canonical} ({route.handler.__module__}.{route.handler.__name__})"
        for route in api.client.server.app.router.routes()
        if route.resource is not None and operation_of(route.handler) is None
    }
    assert not missing, (
        "these routes are not described: put @described(…) of api.operations.operation before the handler, as "
        f"CONTRIBUTING.md says under 'Adding a route': {sorted(missing)}"
    )


async def test_every_placeholder_of_a_path_is_described(api: Api):
    """By its name in `api.operations.parameters.PATH`, or by the route itself."""
    for route in api.client.server.app.router.routes():
        if route.resource is None or (operation := operation_of(route.handler)) is None:
            continue
        path = route.resource.canonical
        for name in re.findall(r"{(\w+)}", path):
            assert name in operation.path or name in PATH, (
                f"{{{name}}} of {path} is described nowhere: give it a line in PATH of api/operations/parameters.py"
            )


async def test_every_field_is_described(document: dict[str, Any]):
    """A description stands beside each field, or beside the field of the model that it is described like."""
    missing = {
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, shown in schema.get("properties", {}).items()
        if not shown.get("description")
    }
    assert not missing, f"these fields have no description: {sorted(missing)}"


async def test_the_document_has_every_route_and_nothing_else(api: Api, document: dict[str, Any]):
    """As the table of permissions has them."""
    assert {name for name, _ in operations(document)} == routes_of(api) == set(TABLE)


async def test_the_document_is_valid(document: dict[str, Any]):
    """By the specification's own schema, and every reference leads somewhere."""
    # The validator takes patterns for Python's, which has no \p{…}; JSON Schema's are ECMA-262's, which has.
    plain = json.loads(re.sub(r"\\\\p\{\w+\}", "a", json.dumps(document)))
    assert document["openapi"].startswith("3.1")
    assert [str(error) for error in OpenAPIV31SpecValidator(plain).iter_errors()] == []


async def test_each_operation_names_the_lowest_role_that_may(document: dict[str, Any]):
    """The one of the table of permissions, which is tried out there; none where no token is needed."""
    for name, operation in operations(document):
        role = TABLE[name].role
        roles = {word for one in operation["security"] for words in one.values() for word in words}
        assert roles == (set() if role is None else {role.name.lower()}), name


async def test_each_operation_lists_the_query_parameters_that_are_accepted(
    api: Api, document: dict[str, Any]
):
    """What a parameter that does not exist is answered with names all that do."""
    job = await api.create()
    for name, operation in operations(document):
        parameters = operation.get("parameters", [])
        values = {one["name"]: one["example"] for one in parameters if one["in"] == "path"}
        method, _, path = name.partition(" ")
        answer = await api.send(method, path.format(**values | {"job_id": job["id"]}) + "?xyzzy=1")
        if answer.status == 200 and name.startswith(
            ("GET /healthz", "GET /metrics", "GET /openapi", "GET /docs")
        ):
            assert not [one for one in parameters if one["in"] == "query"]
            continue
        if name == "GET /readyz":
            continue
        assert answer.status == 400, (name, answer.text)
        names = [one["name"] for one in parameters if one["in"] == "query"]
        remedy = f"; use {', '.join(names)}." if names else "; remove it."
        assert remedy in answer.text, (name, answer.text)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Holds values against a schema of the document."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})


async def test_every_example_of_an_answer_fits_its_schema(document: dict[str, Any]):
    """Also without the further fields that a later version may add."""
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    count = 0
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                if "example" in content:
                    errors = list(validator(document, content["schema"]).iter_errors(content["example"]))
                    assert not errors, (name, status, [error.message for error in errors])
                    count += 1
    assert count > 20


def examples_of(operation: dict[str, Any], target: URL) -> list[tuple[URL, Any]]:
    """The requests that an operation's examples make: each body, or the query with all its parameters at once."""
    if "requestBody" in operation:
        contents = operation["requestBody"]["content"].values()
        found = [one["value"] for content in contents for one in content.get("examples", {}).values()]
        # A job that is cancelled runs no more.
        return [(target, value) for value in sorted(found, key=lambda one: one.get("status") == "cancelled")]
    query = [
        (one["name"], str(value))
        for one in operation.get("parameters", [])
        if one["in"] == "query" and "example" in one
        for value in (one["example"] if isinstance(one["example"], list) else [one["example"]])
    ]
    return [(target.with_query(query), None)] if query else []


async def prepare(api: Api, name: str, target: URL) -> None:
    """What an example takes for granted."""
    if name == "POST /v1/users":
        await api.delete("/v1/users/ann")
    elif name == "PATCH /api/jobs/{exec_id}":
        await until(lambda: api.get(target), lambda one: one.body["status"] == "running")


async def test_every_example_of_a_request_is_accepted(
    api: Api, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """Each is sent, and answered as the document says; what a query names need not exist."""
    monkeypatch.setattr("scheduler.notify.addresses.AddressPolicy.check_url", lambda *_: None)
    await api.create("pipe_check_dao", namespace="elsewhere", command="hang")
    await make("users", api, examples.LOG_IN)
    sent = 0
    for name, operation in operations(document):
        method, _, path = name.partition(" ")
        scene = await make_scene(api, OWN, name)
        for target, value in examples_of(operation, URL(path.format(**scene.values), encoded=True)):
            await prepare(api, name, target)
            body = value
            if method != "POST" and value is not None and "name" in value:
                body = {**value, "name": f"{value['name']} {scene.number}"}  # a namespace has each name once
            answer = await api.send(method, target, body)
            wanted = {int(status) for status in operation["responses"] if status < "400"}
            if value is None:
                wanted |= {400, 404} if path.startswith("/ges/") else {404}
            assert answer.status in wanted, (name, value, answer.text)
            sent += 1
    assert sent > 30


async def test_the_document_is_sent_once_while_it_stays_the_same(api: Api):
    """By its ETag; and it is made once."""
    first = await api.get("/openapi.json", token=None)
    tag = first.headers["ETag"]
    again = await api.get("/openapi.json", token=None, headers={"If-None-Match": tag})
    assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", tag)
    other = await api.get("/openapi.json", token=None, headers={"If-None-Match": '"x"'})
    assert (other.status, other.raw) == (200, first.raw)
    assert first.headers["Cache-Control"] == "no-cache"


def test_the_document_is_not_made_before_it_is_asked_for():
    """A daemon that nobody asks does not load what makes it."""
    code = "import sys, api.server.app; print([m for m in sys.modules if m in sys.argv[1:]])"
    done = subprocess.run(
        [sys.executable, "-c", code, "api.openapi.document"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


async def test_the_page_loads_nothing_from_elsewhere(api: Api):
    """All that it names is served here, its policy allows no more, and it has no script within."""
    page = await api.get("/docs", token=None)
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    named = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    for address in named:
        assert address.startswith(("/", "#", "data:,")), address
        if address.startswith("/"):
            assert (await api.get(address, token=None)).status == 200, address
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|\sstyle=", page.text)
    for path in PAGE.iterdir():
        assert not re.search(r"https?:|//[a-z]", path.read_text().replace("// ", "")), path
        answer = await api.get("/docs" if path.suffix == ".html" else f"/docs/{path.name}", token=None)
        assert answer.raw == path.read_bytes()
    assert (
        (await api.get("/healthz", token=None))
        .headers["Content-Security-Policy"]
        .startswith("default-src 'none'; frame")
    )


async def test_a_job_made_with_a_whole_number_that_has_a_point_is_made(api: Api):
    """JSON has one sort of number: 3.0 is 3; 3.5 is refused as before."""
    answer = await api.post(
        "/v1/jobs",
        raw=json.dumps({"name": "j", "docker_image_repo": REPO, "docker_image_tag": TAG, "max_retries": 3.0}),
    )
    assert (answer.status, answer.body["max_retries"]) == (201, 3)
    refused = await api.put(f"/v1/jobs/{answer.body['id']}", {"max_retries": 3.5})
    assert refused.errors()["max_retries"]["message"] == "is not a whole number"


async def test_a_word_of_a_path_is_not_taken_for_an_id(api: Api):
    """What is asked of it in another way is told 405, and how to ask."""
    answer = await api.get("/v1/execs/stop")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = await api.delete("/ges/v1.0/x/graphs/-/jobs/status")
    assert answer.status == 405
