"""Request bodies: JSON that fits a model, or a clear refusal."""

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

#: How the remedy begins that repeats what was given.
_IN_QUOTES: Final = "write it in quotes"
#: How a body may be compressed.
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
        request: with a JSON body.
        model: its shape.
        what: what it describes, for people.
        read_only: names that answers have and requests have not.
        optional: take no body for an empty object.
        hidden: names whose values are not shown back when they are refused.

    Raises:
        InvalidInputError: the body is not JSON, or not of that shape.
        web.HTTPUnsupportedMediaType: it says that it is something else than JSON.
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
        found = _refusal(error, model, what=what, read_only=read_only)
        raise _without_values(found, model, hidden) from None
    json.loads(raw, object_pairs_hook=lambda pairs: _without_twins(pairs, hidden))
    return body


async def form_or_json_of(request: web.Request, model: type[T], *, what: str) -> T:
    """The request's body as the model, whose fields are all texts; no value is shown back.

    Args:
        request: with a JSON body or a form, as HTML sends it.
        model: its shape.
        what: what it describes, for people.

    Raises:
        InvalidInputError: the body is neither, or not of that shape.
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
        found = _refusal(error, model, what=what, read_only=())
        raise _without_values(found, model, hidden) from None


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
    found: InvalidInputError, model: type[Input], hidden: tuple[str, ...]
) -> InvalidInputError:
    """The refusal without what was given as a secret, perhaps under a misspelt name."""
    if not hidden:
        return found
    errors = []
    for one in found.errors:
        name = one.field.split(".")[0]
        if name in hidden or name not in model.model_fields:
            remedy = _IN_QUOTES if one.remedy.startswith(_IN_QUOTES) else one.remedy
            one = replace(one, value=None, remedy=remedy)  # noqa: PLW2901 - the same one, with less in it
        errors.append(one)
    return InvalidInputError(*errors)


async def _read(request: web.Request) -> bytes:
    """The body, decompressed if it says that it is compressed."""
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
    except ConnectionResetError as error:  # the client has left: nobody reads the answer
        raise InvalidInputError(FieldError("body", None, "is incomplete", "send it completely")) from error
    return raw.removeprefix(codecs.BOM_UTF8)


def _without_twins(pairs: Iterable[tuple[str, Any]], hidden: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object none of whose names comes twice: which of the values was meant, nobody could tell (RFC 8259, 4)."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInputError(
                FieldError(name, None if name in hidden else value, "is given twice", "give it once")
            )
        found[name] = value
    return found


def _is_json(content_type: str) -> bool:
    # Patch formats have meanings of their own: a merge patch would keep the variables that it does not name.
    return content_type == "application/json" or (
        content_type.endswith("+json") and not content_type.endswith("-patch+json")
    )
