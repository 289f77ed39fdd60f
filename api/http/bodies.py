"""Request bodies: JSON that matches a model, or a clear error."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from api.http.keys import BODY_SECONDS
from api.schemas.common import Input, invalid_input
from scheduler.domain.errors import FieldError, InvalidInputError

T = TypeVar("T", bound=Input)

#: The beginning of the remedy that repeats the value.
_IN_QUOTES: Final = "write it in quotes"
#: The supported encodings of a body.
ENCODINGS: Final = ("identity", "gzip", "deflate")


async def body_of(
    request: web.Request,
    model: type[T],
    *,
    what: str,
    read_only: tuple[str, ...] = (),
    optional: bool = False,
    hidden: tuple[str, ...] = (),
) -> T:
    """The request's body as the model.

    Args:
        request: the request, with a JSON body.
        model: the shape of the body.
        what: what the body describes, for people.
        read_only: names of fields that exist only in answers.
        optional: whether a missing body counts as an empty object.
        hidden: names of fields whose values are not repeated in errors.

    Raises:
        InvalidInputError: the body is not JSON, or does not match the model.
        web.HTTPUnsupportedMediaType: its media type is not JSON, or its encoding is not supported.
        web.HTTPRequestEntityTooLarge: it is too large.
    """
    raw = await _read(request)
    if not raw.strip() and optional:
        return model()
    if "Content-Type" in request.headers and not _is_json(request.content_type):
        raise web.HTTPUnsupportedMediaType(
            text=f"The body is {request.content_type}. Send JSON with 'Content-Type: application/json'."
        )
    if not raw.strip():
        raise InvalidInputError(FieldError("body", None, "is empty", f"send the {what} as a JSON object"))
    try:
        body = model.model_validate_json(raw)
    except ValidationError as error:
        refusal = _refusal(error, model, what=what, read_only=read_only)
        raise _without_values(refusal, model, hidden) from None
    json.loads(raw, object_pairs_hook=lambda pairs: _without_twins(pairs, hidden))
    return body


async def form_or_json_of(request: web.Request, model: type[T], *, what: str) -> T:
    """The request's body as a model whose fields are all strings. Errors do not repeat any values.

    Args:
        request: the request, with a JSON body or an HTML form.
        model: the shape of the body.
        what: what the body describes, for people.

    Raises:
        InvalidInputError: the body is neither, or does not match the model.
    """
    if request.content_type != "application/x-www-form-urlencoded" or "Content-Type" not in request.headers:
        return await body_of(request, model, what=what, hidden=tuple(model.model_fields))
    raw = await _read(request)
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=20)
    except ValueError as error:
        raise InvalidInputError(
            FieldError(
                "body", None, f"is not a form: {error}", "send name=value pairs joined by &, encoded in UTF-8"
            )
        ) from error
    hidden = tuple(model.model_fields)
    try:
        return model.model_validate(_without_twins(pairs, hidden))
    except ValidationError as error:
        refusal = _refusal(error, model, what=what, read_only=())
        raise _without_values(refusal, model, hidden) from None


def _refusal(
    error: ValidationError, model: type[Input], *, what: str, read_only: tuple[str, ...]
) -> InvalidInputError:
    return invalid_input(
        error,
        fields=tuple(model.model_fields),
        optional={name for name, field in model.model_fields.items() if not field.is_required()},
        read_only=read_only,
        what=what,
    )


def _without_values(
    refusal: InvalidInputError, model: type[Input], hidden: tuple[str, ...]
) -> InvalidInputError:
    """The refusal without the values of secrets, including those under a misspelled name."""
    if not hidden:
        return refusal
    return InvalidInputError(*(_without_value(error, model, hidden) for error in refusal.errors))


def _without_value(error: FieldError, model: type[Input], hidden: tuple[str, ...]) -> FieldError:
    name = error.field.split(".")[0]
    if name not in hidden and name in model.model_fields:
        return error
    remedy = _IN_QUOTES if error.remedy.startswith(_IN_QUOTES) else error.remedy
    return replace(error, value=None, remedy=remedy)


async def _read(request: web.Request) -> bytes:
    """The body, decompressed according to its `Content-Encoding`."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise web.HTTPUnsupportedMediaType(
            text=f"The Content-Encoding '{encoding}' is not supported. Use one of {', '.join(ENCODINGS)}, or none."
        )
    try:
        async with asyncio.timeout(request.app[BODY_SECONDS]):
            raw = await request.read()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(
            text=f"The body has not arrived within {request.app[BODY_SECONDS]} seconds. Send it faster, "
            "or ask an administrator to raise request_seconds."
        ) from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise InvalidInputError(
            FieldError(
                "body",
                None,
                f"cannot be read{'' if encoding == 'identity' else f' as {encoding}'}: {error}",
                "send it completely, in the encoding that its headers declare",
            )
        ) from error
    except ConnectionResetError as error:  # the client has disconnected, so nobody reads the answer
        raise InvalidInputError(FieldError("body", None, "is incomplete", "send it completely")) from error
    return raw.removeprefix(codecs.BOM_UTF8)


def _without_twins(pairs: Iterable[tuple[str, Any]], hidden: tuple[str, ...] = ()) -> dict[str, Any]:
    """The object. Names that occur twice are rejected, because their value is ambiguous (RFC 8259, section 4)."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidInputError(
                FieldError(name, None if name in hidden else value, "is given twice", "give it once")
            )
        values[name] = value
    return values


def _is_json(content_type: str) -> bool:
    # Patch formats have other semantics: a merge patch would keep the variables that it does not name.
    return content_type == "application/json" or (
        content_type.endswith("+json") and not content_type.endswith("-patch+json")
    )
