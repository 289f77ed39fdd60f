"""What several shapes share: the format of moments, and the explanation of invalid input.

Pure: pydantic models, and the translation of pydantic's errors into the project's own.
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
    """JSON has only one kind of number: 3.0 is an integer as well as 3 (JSON Schema 2020-12, section 6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: A whole number that users send.
Whole = Annotated[int, BeforeValidator(_as_whole)]


class _Shape(BaseModel):
    """The base of the shapes in both directions.

    Attributes:
        described_like: models with the descriptions of fields that have the same name in this model.
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
    """The attributes of several objects as those of one object, from which pydantic reads models."""

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


#: Our own checks in the OpenAPI document, as patterns of ECMA-262 with the flag `u` (JSON Schema 2020-12, section
#: 6.3.3). The checks themselves have better error messages.
NO_NUL: Final = r"^[^\u0000]*$"
#: Control characters and line breaks; and all kinds of spaces.
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
    """One page of a list, with the total number of entries and the URLs of the adjacent pages."""

    count: int = Field(description="Total number of entries.")
    previous: str | None = Field(description="URL of the previous page; null on the first page.")
    next: str | None = Field(description="URL of the next page; null on the last page.")
    results: list[T] = Field(description="The entries of this page.")


def refuse(message: str, remedy: str) -> PydanticCustomError:
    """The error that validators raise: what is wrong with the value, and what to do."""
    return PydanticCustomError(
        "refused", "{message}", {"message": message.replace("{", "{{"), "remedy": remedy}
    )


#: Messages and remedies by the types of pydantic's errors; the braces are filled from the error's context.
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
#: The end of a location of pydantic that refers to the key of a mapping.
_KEY: Final = "[key]"
#: Values up to this length are repeated in a remedy.
_SHORT: Final = 40


def invalid_input(
    error: ValidationError,
    *,
    fields: Sequence[str] = (),
    optional: Collection[str] = (),
    read_only: Sequence[str] = (),
    what: str = "request",
) -> InvalidInputError:
    """The project's own error for an error of pydantic.

    Args:
        error: the error of pydantic.
        fields: the names of existing fields, for suggestions.
        optional: the names of fields that can be left out.
        read_only: the names of fields that exist only in answers.
        what: what the fields belong to, for people.
    """
    errors: dict[str, FieldError] = {}
    for item in error.errors(include_url=False):
        location = item["loc"]
        if len(location) > 2 and location[-1] == _KEY:
            location = location[:-1]
        name = ".".join(str(part) for part in location) or "body"
        if item["type"] == "extra_forbidden":
            field_error = _explain_unknown(name, item["input"], fields, read_only, what)
        else:
            field_error = _explain(item, name, can_be_left_out=name in optional)
        errors.setdefault(name, field_error)
    return InvalidInputError(*errors.values())


def _explain(item: Any, name: str, *, can_be_left_out: bool) -> FieldError:
    kind, context, value = item["type"], item.get("ctx", {}), item["input"]
    if kind == "refused":
        return FieldError(name, value, context["message"].replace("{{", "{"), context["remedy"])
    if kind in {"missing", "json_invalid"}:
        value = None  # pydantic's value is the surrounding object
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
