"""Answers: models as JSON in UTF-8 without escapes, so that people can read Chinese names in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiohttp import web
from pydantic import BaseModel


def answer(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A model as a response.

    Args:
        model: the shape that users receive.
        status: the HTTP status.
        headers: additional headers.
    """
    return web.Response(
        status=status,
        body=model.model_dump_json().encode(),
        content_type="application/json",
        charset="utf-8",
        headers=headers,
    )


def answer_all(models: Sequence[BaseModel]) -> web.Response:
    """Models as a response with a plain array."""
    body = b"[" + b",".join(model.model_dump_json().encode() for model in models) + b"]"
    return web.Response(body=body, content_type="application/json", charset="utf-8")
