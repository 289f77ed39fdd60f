"""Parameters that several routes share: of paths, by their placeholders, and of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from api.operations.operation import Parameter
from api.schemas.common import NAMESPACE_PATTERN
from scheduler.access.callers import LARGEST_ID

SECRET_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}$"  # noqa: S105 - a pattern
ID: Final = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_PORT: Final = r":[1-9][0-9]{0,4}"
#: A registry as in the name of an image: with a dot, a port or brackets, or `localhost`.
HOST_PATTERN: Final = (
    rf"^(?:(?:{_LABEL}(?:\.{_LABEL})+|localhost|\[[0-9A-Fa-f:]+\])(?:{_PORT})?|{_LABEL}{_PORT})$"
)
#: `true` and `false`, and the other words that are accepted for them.
FLAG: Final = {"anyOf": [{"type": "boolean"}, {"enum": ["1", "0", "yes", "no"]}], "default": False}
NAMESPACE_SCHEMA: Final = {"type": "string", "pattern": NAMESPACE_PATTERN}
MOMENT: Final = {"type": "string", "format": "moment"}
#: Eight digits would be a date.
SECONDS: Final = {"type": "string", "pattern": r"^(?:[0-9]{1,7}|[0-9]{9,11})(?:\.[0-9]{1,6})?$"}
INSTANT: Final = {"anyOf": [MOMENT, SECONDS]}


def _path(name: str, schema: Mapping[str, Any], description: str, example: Any) -> Parameter:
    return Parameter(name, schema, description, example, is_required=True, may_be_empty=False, where="path")


JOB_ID: Final = _path("job_id", ID, "The job's id.", 146)
EXEC_ID: Final = _path(
    "exec_id",
    {"type": "string", "format": "uuid"},
    "The run's id.",
    "64b2d045-2881-4293-9bcd-bdc04b953115",
)
#: The parameters of paths by their placeholders. A route with another meaning declares its own.
PATH: Final = {
    parameter.name: parameter
    for parameter in (
        JOB_ID,
        EXEC_ID,
        _path("hook_id", ID, "The webhook's id.", 1),
        _path(
            "delivery_id",
            {"type": "string", "pattern": "^msg_[0-9a-f]{32}$"},
            "The delivery's id.",
            "msg_00000000000000000000000000000007",
        ),
        _path("token_id", ID, "The token's id.", 1),
        _path("username", {"type": "string", "minLength": 1}, "The user's name.", "ann"),
        _path(
            "secret_name", {"type": "string", "pattern": SECRET_PATTERN}, "The secret's name.", "db_password"
        ),
        _path(
            "registry_host",
            {"type": "string", "pattern": HOST_PATTERN},
            "The registry's host, with its port if it has one.",
            "registry.example.com",
        ),
        _path("namespace", NAMESPACE_SCHEMA, "The namespace.", "chennanfei"),
    )
}


def path(name: str, schema: Mapping[str, Any], description: str, example: Any) -> Parameter:
    """A parameter of a path with a meaning of its own."""
    return _path(name, schema, description, example)


def words(values: Iterable[str]) -> dict[str, Any]:
    """The schema of a value that is one of a few words."""
    return {"type": "string", "enum": list(values)}


def one_or_several(values: Iterable[str]) -> dict[str, Any]:
    """The schema of one or several words, separated by commas."""
    choices = "|".join(values)
    return {"type": "string", "pattern": f"^(?:{choices})(?:,(?:{choices}))*$"}


def repeated(schema: dict[str, Any], *, most: int | None = None) -> dict[str, Any]:
    """The schema of a parameter that can be repeated."""
    return {"type": "array", "items": schema} | ({} if most is None else {"maxItems": most})


def number(name: str, description: str, *, default: int | None, largest: int, least: int = 1) -> Parameter:
    """A parameter that is a whole number; read by `Query.number`."""
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": largest}
    if default is not None:
        schema["default"] = default
    return Parameter(name, schema, description)


def flag(name: str, description: str) -> Parameter:
    """A parameter that is true or false; read by `Query.flag`."""
    return Parameter(name, FLAG, description)


def moment(name: str, description: str, example: str = "2026-01-31T09:00:00Z") -> Parameter:
    """A parameter that is an ISO 8601 moment; read by `Query.moment`."""
    return Parameter(name, MOMENT, description, example)


def instant(name: str, description: str, example: Any = "2026-01-31T09:00:00Z") -> Parameter:
    """A parameter that is an ISO 8601 moment or Unix seconds; read by `Query.instant`."""
    return Parameter(name, INSTANT, description, example)


NAMESPACE: Final = Parameter("namespace", NAMESPACE_SCHEMA, "Only entries of this namespace.", "chennanfei")
OWN_NAMESPACE: Final = Parameter(
    "namespace", NAMESPACE_SCHEMA, "The namespace. Default: the caller's own.", "chennanfei"
)
FORCE: Final = "force"
