"""What several shapes share: how moments are written, how bad input is explained.

Pure: pydantic models and the translation of pydantic's complaints into the project's own errors.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from scheduler.domain.errors import FieldError, InvalidInputError


def format_moment(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: ``2015-12-28T14:31:07.639255+00:00``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


#: A moment on the wire.
Moment = Annotated[
    datetime,
    PlainSerializer(format_moment, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


def _as_whole(value: object) -> object:
    """JSON has one sort of number: 3.0 is as whole as 3 (JSON Schema 2020-12, 6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: A whole number that users send.
Whole = Annotated[int, BeforeValidator(_as_whole)]


class _Shape(BaseModel):
    """What both directions share.

    Attributes:
        described_like: models that describe the fields of the same names, so that this one need not.
    """

    described_like: ClassVar[tuple[type[BaseModel], ...]] = ()


def _describe(schema: dict[str, Any], model: type[_Shape]) -> None:
    """Adds the descriptions that a model takes from others to its JSON Schema."""
    for name, field in schema.get("properties", {}).items():
        for other in model.described_like:
            described = other.model_fields.get(name)
            if described is not None and described.description:
                field.setdefault("description", described.description)


class Input(_Shape):
    """A shape that users send. Types are not converted, and unknown fields are rejected."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, defer_build=True, json_schema_extra=_describe
    )


class _Attributes:
    """The attributes of several objects as those of one; pydantic reads models from it."""

    def __init__(self, sources: tuple[object, ...], values: Mapping[str, Any]) -> None:
        self._sources = sources
        self._values = values

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        for source in self._sources:
            if hasattr(source, name):
                return getattr(source, name)
        raise AttributeError(name)


class Output(_Shape):
    """A shape that users receive."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, from_attributes=True, json_schema_extra=_describe
    )

    @classmethod
    def of(cls, *sources: object, **values: Any) -> Self:
        """The shape of objects of the core.

        Args:
            sources: each field has the value of the first object with an attribute of that name.
            values: fields that have another name or form in the core; they take precedence.
        """
        return cls.model_validate(_Attributes(sources, values))


#: How checks of our own look in the API's description: as patterns of ECMA-262 with its flag `u` (JSON Schema
#: 2020-12, 6.3.3); the checks themselves have better words for what is wrong.
NO_NUL: Final = r"^[^\u0000]*$"
#: Controls and what breaks lines; and spaces of all sorts.
BREAKS: Final = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
SPACES: Final = r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
ONE_LINE: Final = f"^[^{BREAKS}]*$"
SECRET_REFERENCE: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["secret"],
    "properties": {"secret": {"type": "string", "pattern": r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}$"}},
    "additionalProperties": False,
}
NAMESPACE_PATTERN: Final = r"^[\p{L}\p{N}_][\p{L}\p{N}_.\-]{0,99}$"


def shown_as(kind: str = "string", **keywords: Any) -> WithJsonSchema:
    """The JSON Schema of a type whose checks are functions, which pydantic cannot see into."""
    return WithJsonSchema({"type": kind, **keywords})


T = TypeVar("T")


class ListOut(Output, Generic[T]):
    """One page of a list: how many there are in all, and where the pages beside it are."""

    count: int = Field(description="Total number of entries.")
    previous: str | None = Field(description="URL of the previous page; null on the first page.")
    next: str | None = Field(description="URL of the next page; null on the last page.")
    results: list[T] = Field(description="The entries of this page.")


def refuse(message: str, remedy: str) -> PydanticCustomError:
    """The error for validators to raise: what is wrong with the value, and what to write instead."""
    return PydanticCustomError(
        "refused", "{message}", {"message": message.replace("{", "{{"), "remedy": remedy}
    )


#: What pydantic complains of, and what to do about it, by its own names; the context fills the braces.
_EXPLAINED: Final[Mapping[str, tuple[str, str]]] = {
    "string_type": ("is not a string", 'write a JSON string, such as "text"'),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "int_type": ("is not a whole number", "write a whole number, without quotes"),
    "dict_type": ("is not an object", 'write a JSON object, such as {{"NAME": "value"}}'),
    "model_type": ("is not an object", "write a JSON object"),
    "enum": ("is not an allowed value", "use {expected}"),
    "literal_error": ("is not an allowed value", "use {expected}"),
    "greater_than_equal": ("is too small", "use {ge} or more"),
    "less_than_equal": ("is too large", "use {le} or less"),
    "string_too_long": ("is too long", "use at most {max_length} characters"),
    "json_invalid": ("is not valid JSON: {error}", "send one valid JSON document, encoded in UTF-8"),
    "missing": ("is required", "add it"),
}
#: Where a pydantic location ends when a mapping's key is meant.
_KEY: Final = "[key]"
#: Values up to this length are written out in a remedy.
_SHORT: Final = 40


def invalid_input(
    error: ValidationError,
    *,
    fields: Sequence[str] = (),
    optional: Collection[str] = (),
    read_only: Sequence[str] = (),
    what: str = "request",
) -> InvalidInputError:
    """The project's own error for what pydantic refused.

    Args:
        error: pydantic's.
        fields: the names that exist, to suggest the one that was meant.
        optional: those of them that may be left out.
        read_only: names that exist in answers alone.
        what: what the fields belong to, for people.
    """
    found: dict[str, FieldError] = {}
    for item in error.errors(include_url=False):
        location = item["loc"]
        if len(location) > 2 and location[-1] == _KEY:
            location = location[:-1]
        name = ".".join(str(part) for part in location) or "body"
        if item["type"] == "extra_forbidden":
            one = _explain_unknown(name, item["input"], fields, read_only, what)
        else:
            one = _explain(item, name, can_be_left_out=name in optional)
        found.setdefault(name, one)
    return InvalidInputError(*found.values())


def _explain(item: Any, name: str, *, can_be_left_out: bool) -> FieldError:
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    if kind == "refused":
        return FieldError(name, value, context["message"].replace("{{", "{"), context["remedy"])
    if kind in {"missing", "json_invalid"}:
        value = None  # pydantic shows what surrounds it
    message, remedy = _EXPLAINED.get(kind, (str(item["msg"]), "correct it"))
    message, remedy = message.format(**context), remedy.format(**context)
    if value is None and (kind.endswith("_type") or kind in {"enum", "literal_error"}):
        message = "is null"
        remedy += ", or remove it" if can_be_left_out else ""
    elif kind == "string_type" and isinstance(value, int | float):
        text = json.dumps(value)
        if len(text) <= _SHORT:
            remedy = f'write it in quotes: "{text}"'
    return FieldError(name, value, message, remedy)


def _explain_unknown(
    name: str, value: object, fields: Sequence[str], read_only: Sequence[str], what: str
) -> FieldError:
    if name in read_only:
        return FieldError(name, value, "is read-only", "remove it")
    near = difflib.get_close_matches(name[:_SHORT], fields, n=1)
    remedy = f"did you mean '{near[0]}'? Otherwise, remove it" if near else "remove it"
    return FieldError(name, value, f"is not a field of a {what}", remedy)
