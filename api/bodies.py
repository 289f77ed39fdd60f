"""Request bodies: JSON that fits a model, or a clear refusal."""

from __future__ import annotations

from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from api.schemas.common import Input, invalid_input

T = TypeVar("T", bound=Input)


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
    raw = await request.read()
    if not raw.strip() and optional:
        raw = b"{}"
    elif "Content-Type" in request.headers and not _is_json(request.content_type):
        raise web.HTTPUnsupportedMediaType(
            text=f"The body is {request.content_type}; send JSON with 'Content-Type: application/json'"
        )
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid_input(error, fields=tuple(model.model_fields), read_only=read_only, what=what) from None


def _is_json(content_type: str) -> bool:
    return content_type == "application/json" or content_type.endswith("+json")
