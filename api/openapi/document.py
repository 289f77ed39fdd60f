"""Builds the OpenAPI 3.1 document of an application from its routes, their declarations, and the models.

Only imported when the document is first requested: creating JSON Schemas of about eighty models takes half a second
and a few megabytes, which most daemons do not need.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version as version_of
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from api.dialects import dialect_of
from api.dialects.dialect import Dialect
from api.http.problems import CONTENT_TYPE, Problem
from api.operations.operation import JSON, Answer, Body, Operation, Parameter, operation_of
from api.operations.parameters import PATH
from api.operations.tags import TAGS
from scheduler.access.callers import Role

Mode = Literal["validation", "serialization"]

FORM: Final = "application/x-www-form-urlencoded"
#: Errors that any request can get: an invalid head, an internal error, an unavailable disk or database.
_ALWAYS: Final = frozenset({400, 421, 500, 503})
_WITH_TOKEN: Final = frozenset({401, 429})
_WITH_BODY: Final = frozenset({408, 413, 415})
_MEANINGS: Final = {
    400: "The request is malformed or invalid. `errors` names each invalid field.",
    401: "The request has no valid token.",
    403: "The token does not allow this: its role is too low, or it is limited to another namespace.",
    404: "The object does not exist or is not visible to this token, or the page is beyond the end of the list.",
    408: "The body did not arrive in time.",
    409: "The request conflicts with the current state. The message says what to do.",
    413: "The body is larger than the daemon accepts.",
    415: "The body is not JSON, or its compression is not supported.",
    421: "The daemon does not answer for the requested host.",
    429: "Too many failed attempts from this address. `Retry-After` says when to try again.",
    500: "An internal error occurred. The daemon's log has the details.",
    503: "The daemon cannot process the request now. `Retry-After` says when to try again.",
}
_RETRY: Final = frozenset({429, 503})
_HEADERS: Final = {
    "Retry-After": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
}
_ABOUT: Final = """\
Timeball starts containers on time and keeps the output of every run.

- **Authentication**: `Authorization: Token <token>` or `Bearer <token>`. Each operation shows the role it requires.
- **Errors** of `/v1` are problem details (RFC 9457), `application/problem+json`. `errors` has an entry for each
  invalid field, with its value and what to do. Errors of the paths of other systems have the format of those systems.
- **Lists** return `count`, `previous`, `next` and `results`. `page` counts from 1; `page_size` is 20 by default and
  at most 1000.
- **Times** in answers are RFC 3339 in UTC with microseconds. In queries, write the `+` of an offset as `%2B`.
- **Compatibility**: within version 1, nothing in this document is removed or changes its meaning. Answers may get new
  fields, so clients should ignore fields that they do not know.
"""
_LIMITS: Final = {"ge": "minimum", "le": "maximum"}
_PLACEHOLDER: Final = re.compile(r"{(\w+)}")


def document_of(app: web.Application) -> bytes:
    """The document as JSON, in UTF-8.

    Args:
        app: the application with all its routes; those without a declaration are left out.
    """
    shapes = _Shapes()
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for method, path, operation, name in sorted(
        _routes(app), key=lambda route: list(TAGS).index(route[2].tag)
    ):
        dialect = dialect_of(path)
        paths.setdefault(path, {})[method.lower()] = _operation(
            shapes, path, operation, dialect, _operation_id(ids, name, method, dialect)
        )
    schemas = shapes.schemas()
    document = {
        "openapi": "3.1.1",
        "info": {
            "title": "Timeball",
            "version": version_of("timeball"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This daemon."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": shapes.resolved(paths),
        "components": {
            "schemas": schemas,
            "responses": shapes.resolved(dict(sorted(shapes.responses.items()))),
            "securitySchemes": _SECURITY,
        },
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # pydantic offers no other way to name the models that are derived from a generic model.
    return re.sub(r'\bListOut_(\w+?)_(?=")', r"\1Page", text).encode()


def _routes(app: web.Application) -> Iterable[tuple[str, str, Operation, str]]:
    for route in app.router.routes():
        operation = operation_of(route.handler)
        if operation is not None and route.resource is not None and route.method != "HEAD":
            yield route.method, route.resource.canonical, operation, route.handler.__name__


def _operation_id(ids: set[str], name: str, method: str, dialect: Dialect | None) -> str:
    """The id of the operation, the same in every version."""
    operation_id = name if dialect is None else f"{dialect.name}_{name}"
    if operation_id in ids:
        operation_id = f"{operation_id}_{method.lower()}"
    ids.add(operation_id)
    return operation_id


def _operation(
    shapes: _Shapes, path: str, operation: Operation, dialect: Dialect | None, operation_id: str
) -> dict[str, Any]:
    node: dict[str, Any] = {
        "operationId": operation_id,
        "summary": operation.summary,
        "tags": [operation.tag],
    }
    text = operation.description
    if operation.role is not None:
        text = f"{text}\n\nRequires the role `{_word(operation.role)}`.".strip()
    if text:
        node["description"] = text
    placeholders = _PLACEHOLDER.findall(path)
    parameters = [
        *(operation.path.get(name) or PATH[name] for name in placeholders),
        *(operation.query if isinstance(operation.query, tuple) else _fields_of(operation.query)),
        *operation.headers,
    ]
    if parameters:
        node["parameters"] = [_parameter(parameter) for parameter in parameters]
    if operation.body is not None:
        node["requestBody"] = _body(shapes, operation.body)
    node["responses"] = _responses(shapes, path, operation, dialect)
    node["security"] = _security(operation.role, dialect)
    return node


def _fields_of(model: type[BaseModel]) -> Iterable[Parameter]:
    """The fields of a model as query parameters. A field that can be null is a parameter that can be left out."""
    for name, described in _with_limits(model.model_json_schema()["properties"]).items():
        schema = {
            key: value for key, value in described.items() if key not in {"title", "description", "anyOf"}
        }
        choices = [choice for choice in described.get("anyOf", ()) if choice != {"type": "null"}]
        schema |= choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
        if schema.get("default", "") is None:
            del schema["default"]
        example = schema.pop("examples", [None])[0]
        yield Parameter(name, schema, described["description"], example)


def _word(role: Role) -> str:
    return role.name.lower()


def _parameter(parameter: Parameter) -> dict[str, Any]:
    node: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.description,
    }
    if parameter.is_required:
        node["required"] = True
    if parameter.where == "query" and parameter.may_be_empty and not parameter.is_required:
        node["allowEmptyValue"] = True
    node["schema"] = parameter.schema
    if parameter.example is not None:
        node["example"] = parameter.example
    return node


def _body(shapes: _Shapes, body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": shapes.of(body.shape, "validation")}
    if body.examples:
        content["examples"] = {name: {"value": value} for name, value in body.examples.items()}
    return {
        "required": body.is_required,
        "content": {JSON: content} | ({FORM: content} if body.is_form else {}),
    }


def _responses(
    shapes: _Shapes, path: str, operation: Operation, dialect: Dialect | None
) -> dict[str, dict[str, Any]]:
    responses = {str(status): _answer(shapes, answer) for status, answer in operation.answers.items()}
    for status in refusals_of(path, operation):
        sent = status if dialect is None or status == HTTPStatus.MISDIRECTED_REQUEST else _in(dialect, status)
        name = shapes.refusal(sent, dialect)
        if str(sent) not in responses:
            responses[str(sent)] = {"$ref": f"#/components/responses/{name}"}
        elif "content" in responses[str(sent)]:
            responses[str(sent)]["content"] |= shapes.responses[name]["content"]
    return dict(sorted(responses.items()))


def refusals_of(path: str, operation: Operation) -> frozenset[int]:
    """The error statuses of a route, before a dialect converts them."""
    statuses = set(_ALWAYS | operation.refuses)
    names = {*operation.query_names, *getattr(operation.body and operation.body.shape, "model_fields", ())}
    if operation.role is not None:
        statuses |= _WITH_TOKEN
        if operation.role > Role.VIEWER or names & {"namespace", "projectId"} or "{namespace}" in path:
            statuses.add(403)
    if "{" in path or "page" in names:
        statuses.add(404)
    if operation.body is not None:
        statuses |= _WITH_BODY
    return frozenset(statuses)


def _in(dialect: Dialect, status: int) -> int:
    """The status that the dialect uses for a status of ours."""
    return dialect.refuse(status, {"detail": ""}).status


def _answer(shapes: _Shapes, answer: Answer) -> dict[str, Any]:
    node: dict[str, Any] = {"description": answer.description}
    content: dict[str, Any] = {}
    if answer.shape is not None:
        content[JSON] = {"schema": shapes.of(answer.shape, "serialization")}
        if answer.example is not None:
            content[JSON]["example"] = answer.example
    content |= {media: {"schema": schema} for media, schema in answer.media.items()}
    if content:
        node["content"] = content
    if answer.headers:
        node["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    return node


_TOKEN_TEXT: Final = "A token consists of `tbl_` and 43 characters."  # noqa: S105 - prose
_SECURITY: Final = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": f"`Token <token>`. {_TOKEN_TEXT}",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": f"`Bearer <token>`. {_TOKEN_TEXT}"},
    "x_auth_token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Auth-Token",
        "description": f"The token as clients of GES send it. {_TOKEN_TEXT}",
    },
    "explorer_token": {
        "type": "apiKey",
        "in": "header",
        "name": "explorer_token",
        "description": f"The token as clients of Explorer workflow send it. {_TOKEN_TEXT}",
    },
    "explorer_cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "explorer_token",
        "description": f"The same in a cookie. {_TOKEN_TEXT}",
    },
}


def _security(role: Role | None, dialect: Dialect | None) -> list[dict[str, list[str]]]:
    if role is None:
        return []
    names = ["token", "bearer", *(() if dialect is None else dialect.security)]
    return [{name: [_word(role)]} for name in names]


class _Shapes:
    """Collects shapes while the paths are built, and describes them together, so that each has one name."""

    def __init__(self) -> None:
        self.responses: dict[str, dict[str, Any]] = {}
        self._requested: dict[tuple[str, Mode], Any] = {}
        self._schemas: dict[str, Any] = {}

    def of(self, shape: Any, mode: Mode) -> dict[str, Any]:
        """A placeholder for the schema of a shape, which `resolved` replaces."""
        key = f"{len(self._requested)}"
        self._requested[key, mode] = shape
        return {"$shape": f"{mode}:{key}"}

    def refusal(self, status: int, dialect: Dialect | None) -> str:
        """The name of the error response with that status."""
        own = dialect if status != HTTPStatus.MISDIRECTED_REQUEST else None
        name = ("" if own is None else own.name.capitalize()) + HTTPStatus(status).phrase.replace(" ", "")
        if name not in self.responses:
            media, shape = (CONTENT_TYPE, Problem) if own is None else (JSON, own.refusal)
            headers = {}
            if status in _RETRY:
                headers["Retry-After"] = _HEADERS["Retry-After"]
            if status == HTTPStatus.UNAUTHORIZED:
                headers["WWW-Authenticate"] = _HEADERS["WWW-Authenticate"]
            self.responses[name] = {
                "description": _MEANINGS[status],
                **({"headers": headers} if headers else {}),
                "content": {media: {"schema": self.of(shape, "serialization")}},
            }
        return name

    def schemas(self) -> dict[str, Any]:
        """The schemas of all requested shapes that have a name."""
        named: dict[str, Any] = {}
        modes: tuple[Mode, ...] = ("validation", "serialization")
        for mode in modes:
            schemas, definitions = TypeAdapter.json_schemas(
                [
                    (key, mode, TypeAdapter(shape))
                    for (key, of), shape in self._requested.items()
                    if of == mode
                ],
                ref_template="#/components/schemas/{model}",
            )
            self._schemas |= {f"{of}:{key}": schema for (key, of), schema in schemas.items()}
            for name, schema in definitions.get("$defs", {}).items():
                tidied = _tidied(name, _with_limits(schema), is_input=mode == "validation")
                if named.setdefault(name, tidied) != tidied:
                    msg = f"{name} is sent and received with different schemas; give each direction its own model"
                    raise ValueError(msg)
        return dict(sorted(named.items()))

    def resolved(self, node: Any) -> Any:
        """The node with every placeholder replaced by its schema."""
        if isinstance(node, Mapping):
            if "$shape" in node:
                return _without_titles(self._schemas[node["$shape"]])
            return {name: self.resolved(value) for name, value in node.items()}
        if isinstance(node, list | tuple):
            return [self.resolved(value) for value in node]
        return node


def _with_limits(node: Any) -> Any:
    """The node with JSON Schema's names for limits: after checks of our own, pydantic uses its names."""
    if isinstance(node, Mapping):
        return {_LIMITS.get(name, name): _with_limits(value) for name, value in node.items()}
    return [_with_limits(item) for item in node] if isinstance(node, list) else node


def _without_titles(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "title"}


def _tidied(name: str, schema: dict[str, Any], *, is_input: bool) -> dict[str, Any]:
    """A readable schema: without generated titles and placeholders for defaults, and with descriptions of fields."""
    tidied = {key: value for key, value in schema.items() if key != "title"}
    text, meanings = _parts_of(tidied.get("description", ""))
    if text:
        tidied["description"] = text
    if not is_input and tidied.get("additionalProperties") is False:
        # Answers can get further fields within a version.
        del tidied["additionalProperties"]
    if "properties" in tidied:
        keeps_default = is_input and not name.endswith("Change")
        tidied["properties"] = {
            field: _tidied_field(field, described, meanings, keeps_default=keeps_default)
            for field, described in tidied["properties"].items()
        }
    return tidied


def _tidied_field(
    field: str, schema: dict[str, Any], meanings: Mapping[str, str], *, keeps_default: bool
) -> dict[str, Any]:
    tidied = _without_titles(schema)
    if not keeps_default or tidied.get("default") == "":
        tidied.pop("default", None)
    if field in meanings:
        tidied.setdefault("description", meanings[field])
    return tidied


def _parts_of(docstring: str) -> tuple[str, dict[str, str]]:
    """The text of a docstring, and the descriptions of its attributes."""
    text, _, rest = docstring.partition("\n\nAttributes:\n")
    meanings: dict[str, str] = {}
    for line in rest.splitlines():
        name, colon, meaning = line.strip().partition(": ")
        if colon and name.isidentifier():
            meanings[name] = meaning[:1].upper() + meaning[1:]
    return text, meanings
