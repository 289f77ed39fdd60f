"""Request bodies: JSON that fits a model, or a clear refusal."""

from __future__ import annotations

import codecs
import json
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import ValidationError

from api.schemas.common import Input, invalid_input
from scheduler.errors import FieldError, InvalidInputError

T = TypeVar("T", bound=Input)

#: How a body may be compressed.
ENCODINGS: Final = ("identity", "gzip", "deflate")


async def body_of(
    request: web.Request,
    model: type[T],
    *,
    what: str,
    read_only: tuple[str, ...] = (),
    optional: bool = False,
) -> T:
    """The request's body as the model.

    Args:
        request: with a JSON body.
        model: its shape.
        what: what it describes, for people.
        read_only: names that answers have and requests have not.
        optional: take no body for an empty object.

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
            text=f"The body is {request.content_type}; send JSON with 'Content-Type: application/json'"
        )
    if not raw.strip():
        raise InvalidInputError(FieldError("body", None, "is empty", f"send the {what} as a JSON object"))
    try:
        body = model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid_input(
            error,
            fields=tuple(model.model_fields),
            optional={name for name, field in model.model_fields.items() if not field.is_required()},
            read_only=read_only,
            what=what,
        ) from None
    json.loads(raw, object_pairs_hook=_without_twins)
    return body


async def _read(request: web.Request) -> bytes:
    """The body, decompressed if it says that it is compressed."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise web.HTTPUnsupportedMediaType(
            text=f"The body's Content-Encoding is {encoding}; use one of {', '.join(ENCODINGS)}, or none"
        )
    try:
        raw = await request.read()
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise InvalidInputError(
            FieldError(
                "body", None, f"cannot be read as {encoding}: {error}", "send it whole, as its headers say"
            )
        ) from error
    except ConnectionResetError as error:  # the client has left: nobody reads the answer
        raise InvalidInputError(
            FieldError("body", None, "ends before it is whole", "send it to its end")
        ) from error
    return raw.removeprefix(codecs.BOM_UTF8)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose names comes twice: which of the values was meant, nobody could tell (RFC 8259, 4)."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInputError(FieldError(name, value, "is given twice", "give it once"))
        found[name] = value
    return found


def _is_json(content_type: str) -> bool:
    # Patch formats have meanings of their own: a merge patch would keep the variables that it does not name.
    return content_type == "application/json" or (
        content_type.endswith("+json") and not content_type.endswith("-patch+json")
    )
