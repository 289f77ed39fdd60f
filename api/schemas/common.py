"""What several shapes share: how moments are written, how bad input is explained.

Pure: pydantic models and the translation of pydantic's complaints into the project's own errors.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer, ValidationError
from pydantic_core import PydanticCustomError

from scheduler.errors import FieldError, InvalidInputError


def format_moment(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: ``2015-12-28T14:31:07.639255+00:00``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


#: A moment on the wire.
Moment = Annotated[datetime, PlainSerializer(format_moment, return_type=str)]


class Input(BaseModel):
    """A shape that users send: its types are taken literally and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Output(BaseModel):
    """A shape that users receive."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T")


class ListOut(Output, Generic[T]):
    """One page of a list: how many there are in all, and where the pages beside it are."""

    count: int
    previous: str | None
    next: str | None
    results: list[T]


def refuse(message: str, remedy: str) -> PydanticCustomError:
    """The error for validators to raise: what is wrong with the value, and what to write instead."""
    return PydanticCustomError(
        "refused", "{message}", {"message": message.replace("{", "{{"), "remedy": remedy}
    )


#: What to do about pydantic's own complaints, by their type; the context fills the braces.
_REMEDIES: Final[Mapping[str, str]] = {
    "missing": "give it",
    "string_type": 'write a JSON string, such as "text"',
    "bool_type": "write true or false, without quotes",
    "int_type": "write a whole number, without quotes",
    "int_from_float": "write a whole number",
    "dict_type": 'write a JSON object, such as {{"NAME": "value"}}',
    "list_type": 'write a JSON list, such as ["a", "b"]',
    "model_type": "write a JSON object",
    "model_attributes_type": "write a JSON object",
    "enum": "use {expected}",
    "literal_error": "use {expected}",
    "greater_than_equal": "use {ge} or more",
    "less_than_equal": "use {le} or less",
    "string_too_long": "use {max_length} characters at most",
    "string_too_short": "use {min_length} characters at least",
    "too_long": "use {max_length} at most",
    "json_invalid": "send one valid JSON document, encoded in UTF-8",
}


def invalid_input(
    error: ValidationError,
    *,
    fields: Sequence[str] = (),
    read_only: Sequence[str] = (),
    what: str = "request",
) -> InvalidInputError:
    """The project's own error for what pydantic refused.

    Args:
        error: pydantic's.
        fields: the names that exist, to suggest the one that was meant.
        read_only: names that exist in answers alone.
        what: what the fields belong to, for people.
    """
    found: dict[str, FieldError] = {}
    for item in error.errors(include_url=False):
        location = [str(part) for part in item["loc"] if not _is_branch(part)]
        name = ".".join(location) or "body"
        one = _explain(item, name, fields, read_only, what)
        # A union complains once for each of its types; the first says enough, the others add theirs.
        if name in found and one.remedy not in found[name].remedy:
            first = found[name]
            one = FieldError(name, first.value, first.message, f"{first.remedy}; or {one.remedy}")
        found[name] = one
    return InvalidInputError(*found.values())


def _is_branch(part: int | str) -> bool:
    """Whether a part of a location names a branch of a union instead of a field."""
    return isinstance(part, str) and (part in {"str", "none"} or "[" in part)


def _explain(item: Any, name: str, fields: Sequence[str], read_only: Sequence[str], what: str) -> FieldError:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return _explain_unknown(name, item["input"], fields, read_only, what)
    if kind == "missing":
        return FieldError(name, None, "is required", "give it")
    if kind == "json_invalid":
        return FieldError("body", None, f"is not valid JSON: {context.get('error', '')}", _REMEDIES[kind])
    if kind == "refused":
        return FieldError(name, item["input"], context["message"].replace("{{", "{"), context["remedy"])
    message = str(item["msg"])
    remedy = _REMEDIES.get(kind, "correct it").format(**context)
    return FieldError(name, item["input"], message[0].lower() + message[1:], remedy)


def _explain_unknown(
    name: str, value: object, fields: Sequence[str], read_only: Sequence[str], what: str
) -> FieldError:
    if name in read_only:
        return FieldError(name, value, "is read-only", "leave it out")
    near = difflib.get_close_matches(name, fields, n=1)
    remedy = f"did you mean '{near[0]}'? Else leave it out" if near else "leave it out"
    return FieldError(name, value, f"is not a field of a {what}", remedy)
