"""Makes the OpenAPI 3.1 document of an application: of its routes, what they were described as, and the models.

Only imported when the document is first asked for: making JSON Schemas of some eighty models takes half a second and
a few megabytes, which a daemon that nobody asks does not need.
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
#: Any request can end so: at its head, in the daemon, or for want of a disk or a database.
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
  invalid field, with its value and what to do. The paths of other systems answer errors as those systems do.
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
        app: with all its routes; those that nobody described are left out.
    """
    shapes = _Shapes()
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for method, path, operation, name in sorted(_routes(app), key=lambda one: list(TAGS).index(one[2].tag)):
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
    # pydantic has no other way to name what is made of a generic model.
    return re.sub(r'\bListOut_(\w+?)_(?=")', r"\1Page", text).encode()


def _routes(app: web.Application) -> Iterable[tuple[str, str, Operation, str]]:
    for route in app.router.routes():
        operation = operation_of(route.handler)
        if operation is not None and route.resource is not None and route.method != "HEAD":
            yield route.method, route.resource.canonical, operation, route.handler.__name__


def _operation_id(ids: set[str], name: str, method: str, dialect: Dialect | None) -> str:
    """Names the operation, the same in every version."""
    found = name if dialect is None else f"{dialect.name}_{name}"
    if found in ids:
        found = f"{found}_{method.lower()}"
    ids.add(found)
    return found


def _operation(
    shapes: _Shapes, path: str, one: Operation, dialect: Dialect | None, operation_id: str
) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": operation_id, "summary": one.summary, "tags": [one.tag]}
    text = one.description
    if one.role is not None:
        text = f"{text}\n\nRequires the role `{_word(one.role)}`.".strip()
    if text:
        found["description"] = text
    placeholders = _PLACEHOLDER.findall(path)
    parameters = [
        *(one.path.get(name) or PATH[name] for name in placeholders),
        *(one.query if isinstance(one.query, tuple) else _fields_of(one.query)),
        *one.headers,
    ]
    if parameters:
        found["parameters"] = [_parameter(parameter) for parameter in parameters]
    if one.body is not None:
        found["requestBody"] = _body(shapes, one.body)
    found["responses"] = _responses(shapes, path, one, dialect)
    found["security"] = _security(one.role, dialect)
    return found


def _fields_of(model: type[BaseModel]) -> Iterable[Parameter]:
    """The fields of a model as parameters of a query; that one can be null only means that it can be left out."""
    for name, found in _with_limits(model.model_json_schema()["properties"]).items():
        schema = {key: value for key, value in found.items() if key not in {"title", "description", "anyOf"}}
        choices = [choice for choice in found.get("anyOf", ()) if choice != {"type": "null"}]
        schema |= choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {}
        if schema.get("default", "") is None:
            del schema["default"]
        example = schema.pop("examples", [None])[0]
        yield Parameter(name, schema, found["description"], example)


def _word(role: Role) -> str:
    return role.name.lower()


def _parameter(one: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": one.name, "in": one.where, "description": one.description}
    if one.is_required:
        found["required"] = True
    if one.where == "query" and one.may_be_empty and not one.is_required:
        found["allowEmptyValue"] = True
    found["schema"] = one.schema
    if one.example is not None:
        found["example"] = one.example
    return found


def _body(shapes: _Shapes, body: Body) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": shapes.of(body.shape, "validation")}
    if body.examples:
        content["examples"] = {name: {"value": value} for name, value in body.examples.items()}
    return {
        "required": body.is_required,
        "content": {JSON: content} | ({FORM: content} if body.is_form else {}),
    }


def _responses(
    shapes: _Shapes, path: str, one: Operation, dialect: Dialect | None
) -> dict[str, dict[str, Any]]:
    found = {str(status): _answer(shapes, answer) for status, answer in one.answers.items()}
    for status in refusals_of(path, one):
        asked = (
            status if dialect is None or status == HTTPStatus.MISDIRECTED_REQUEST else _in(dialect, status)
        )
        name = shapes.refusal(asked, dialect)
        if str(asked) not in found:
            found[str(asked)] = {"$ref": f"#/components/responses/{name}"}
        elif "content" in found[str(asked)]:
            found[str(asked)]["content"] |= shapes.responses[name]["content"]
    return dict(sorted(found.items()))


def refusals_of(path: str, one: Operation) -> frozenset[int]:
    """The statuses of the problems that a route can answer, before a dialect makes its own of them."""
    found = set(_ALWAYS | one.refuses)
    names = {*one.query_names, *getattr(one.body and one.body.shape, "model_fields", ())}
    if one.role is not None:
        found |= _WITH_TOKEN
        if one.role > Role.VIEWER or names & {"namespace", "projectId"} or "{namespace}" in path:
            found.add(403)
    if "{" in path or "page" in names:
        found.add(404)
    if one.body is not None:
        found |= _WITH_BODY
    return frozenset(found)


def _in(dialect: Dialect, status: int) -> int:
    """The status that the dialect has for it."""
    return dialect.refuse(status, {"detail": ""}).status


def _answer(shapes: _Shapes, one: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {"description": one.description}
    content: dict[str, Any] = {}
    if one.shape is not None:
        content[JSON] = {"schema": shapes.of(one.shape, "serialization")}
        if one.example is not None:
            content[JSON]["example"] = one.example
    content |= {media: {"schema": schema} for media, schema in one.media.items()}
    if content:
        found["content"] = content
    if one.headers:
        found["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in one.headers.items()
        }
    return found


_TOKEN_TEXT: Final = "A token of the daemon: `tbl_` and 43 characters."  # noqa: S105 - prose
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
        "description": f"As clients of GES send it. {_TOKEN_TEXT}",
    },
    "explorer_token": {
        "type": "apiKey",
        "in": "header",
        "name": "explorer_token",
        "description": f"As clients of Explorer workflow send it. {_TOKEN_TEXT}",
    },
    "explorer_cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "explorer_token",
        "description": f"The same as a cookie. {_TOKEN_TEXT}",
    },
}


def _security(role: Role | None, dialect: Dialect | None) -> list[dict[str, list[str]]]:
    if role is None:
        return []
    names = ["token", "bearer", *(() if dialect is None else dialect.security)]
    return [{name: [_word(role)]} for name in names]


class _Shapes:
    """Collects shapes while the paths are made, and describes them all together, so that each has one name."""

    def __init__(self) -> None:
        self.responses: dict[str, dict[str, Any]] = {}
        self._asked: dict[tuple[str, Mode], Any] = {}
        self._found: dict[str, Any] = {}

    def of(self, shape: Any, mode: Mode) -> dict[str, Any]:
        """Stands for a shape's schema until `resolved`."""
        key = f"{len(self._asked)}"
        self._asked[key, mode] = shape
        return {"$shape": f"{mode}:{key}"}

    def refusal(self, status: int, dialect: Dialect | None) -> str:
        """The name of the response that refuses with that status."""
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
        """The schemas of all that was asked for and has a name."""
        named: dict[str, Any] = {}
        modes: tuple[Mode, ...] = ("validation", "serialization")
        for mode in modes:
            found, definitions = TypeAdapter.json_schemas(
                [(key, mode, TypeAdapter(shape)) for (key, of), shape in self._asked.items() if of == mode],
                ref_template="#/components/schemas/{model}",
            )
            self._found |= {f"{of}:{key}": schema for (key, of), schema in found.items()}
            for name, schema in definitions.get("$defs", {}).items():
                tidied = _tidied(name, _with_limits(schema), is_input=mode == "validation")
                if named.setdefault(name, tidied) != tidied:
                    msg = f"{name} is both sent and received, and not the same; give each its own model"
                    raise ValueError(msg)
        return dict(sorted(named.items()))

    def resolved(self, node: Any) -> Any:
        """The same with every stand-in replaced by its schema."""
        if isinstance(node, Mapping):
            if "$shape" in node:
                return _without_titles(self._found[node["$shape"]])
            return {name: self.resolved(value) for name, value in node.items()}
        if isinstance(node, list | tuple):
            return [self.resolved(value) for value in node]
        return node


def _with_limits(node: Any) -> Any:
    """The same with limits by JSON Schema's names: pydantic uses its own where a check of ours comes before them."""
    if isinstance(node, Mapping):
        return {_LIMITS.get(name, name): _with_limits(value) for name, value in node.items()}
    return [_with_limits(one) for one in node] if isinstance(node, list) else node


def _without_titles(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "title"}


def _tidied(name: str, schema: dict[str, Any], *, is_input: bool) -> dict[str, Any]:
    """A schema as people want to read it: no machine-made titles, no placeholders for defaults, words for fields."""
    found = {key: value for key, value in schema.items() if key != "title"}
    text, meanings = _told(found.get("description", ""))
    if text:
        found["description"] = text
    if not is_input and found.get("additionalProperties") is False:
        # Answers may get further fields within a version.
        del found["additionalProperties"]
    if "properties" in found:
        found["properties"] = {
            field: _tidied_field(field, one, meanings, keeps_default=is_input and not name.endswith("Change"))
            for field, one in found["properties"].items()
        }
    return found


def _tidied_field(
    field: str, schema: dict[str, Any], meanings: Mapping[str, str], *, keeps_default: bool
) -> dict[str, Any]:
    found = _without_titles(schema)
    if not keeps_default or found.get("default") == "":
        found.pop("default", None)
    if field in meanings:
        found.setdefault("description", meanings[field])
    return found


def _told(docstring: str) -> tuple[str, dict[str, str]]:
    """What a docstring says, and what it says of each attribute."""
    text, _, rest = docstring.partition("\n\nAttributes:\n")
    meanings: dict[str, str] = {}
    for line in rest.splitlines():
        name, colon, meaning = line.strip().partition(": ")
        if colon and name.isidentifier():
            meanings[name] = meaning[:1].upper() + meaning[1:]
    return text, meanings
