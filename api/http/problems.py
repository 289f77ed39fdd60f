"""Every error becomes RFC 9457 problem details: `application/problem+json`.

A middleware around all handlers. What the core raises is translated by its class; what nobody foresaw is logged
with its traceback and answered as 500 without its inner words.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NotRequired

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from typing_extensions import TypedDict

from scheduler.domain.errors import (
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    ScheduleError,
    TimeballError,
    TooManyError,
    UnauthorizedError,
    UnavailableError,
)

log = structlog.get_logger()

CONTENT_TYPE: Final = "application/problem+json"
#: The most of a refused value that is shown back.
LONGEST_VALUE: Final = 200

_STATUS: Final[Mapping[type[TimeballError], HTTPStatus]] = {
    InvalidInputError: HTTPStatus.BAD_REQUEST,
    ScheduleError: HTTPStatus.BAD_REQUEST,
    UnauthorizedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    TooManyError: HTTPStatus.TOO_MANY_REQUESTS,
    UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
}


#: What the machine has too little of, not what anybody did wrong.
_OUT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class ProblemField(TypedDict):
    """One field of the input that is wrong: with its value, what is wrong with it, and what to write instead.

    Attributes:
        field: the field's name, with dots for nesting.
        value: the value that was sent, shortened if it is long.
        message: what is wrong with the value.
        remedy: what to do.
    """

    field: str
    value: Any
    message: str
    remedy: str


class Problem(TypedDict):
    """Problem details, as RFC 9457 has them: a name for what went wrong, and words for people.

    Attributes:
        type: the kind of problem, as a URN.
        title: the HTTP status in words.
        status: the HTTP status.
        detail: what is wrong and what to do.
        errors: one entry for each field of the input that is wrong.
    """

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[ProblemField]]


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem as a response.

    Args:
        status: the HTTP status.
        detail: what was wrong and what to do, for people.
        errors: one for each field of the input that is wrong.
        headers: more headers.
    """
    body: Problem = {
        "type": f"urn:timeball:problem:{status.phrase.lower().replace(' ', '-')}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    if errors:
        body["errors"] = [
            {"field": _shown(e.field), "value": _shown(e.value), "message": e.message, "remedy": e.remedy}
            for e in errors
        ]
    return web.Response(
        status=status.value,
        body=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def _shown(value: object) -> Any:
    """A value as it may be shown back: itself where that is short and JSON has it, else its beginning as text."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "…"
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN and infinities, which JSON has not
        return str(value)[:LONGEST_VALUE]
    return value if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "…"


def from_error(error: TimeballError) -> web.Response:
    """The problem that an error of the core is."""
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        log.error("api.unforeseen", error=str(error), exc_info=error)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Timeball made a mistake; its log says which.")
    headers: dict[str, str] = {}
    errors: tuple[FieldError, ...] = ()
    if isinstance(error, InvalidInputError):
        errors = tuple(error.errors)
    if isinstance(error, UnavailableError | TooManyError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Token realm="timeball"'
    return problem(status, _detail(error), errors=errors, headers=headers)


def _detail(error: TimeballError) -> str:
    if not isinstance(error, InvalidInputError):
        return str(error)
    parts = []
    for one in error.errors:
        shown = "" if one.value is None else f" ({json.dumps(_shown(one.value), ensure_ascii=False)})"
        end = "" if one.remedy.endswith("?") else "."
        parts.append(f"{_shown(one.field)}{shown}: {one.message}; {one.remedy}{end}")
    return " ".join(parts)


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as problem details."""
    try:
        request.url  # noqa: B018 - made here, where a Host that is none can still be refused (RFC 9112, 3.2)
    except ValueError:
        host = _shown(request.headers.get("Host", ""))
        return problem(HTTPStatus.BAD_REQUEST, f"The header 'Host: {host}' names no host; send the real one")
    try:
        return await handler(request)
    except TimeballError as error:
        return from_error(error)
    except web.HTTPException as error:
        return _from_http(request, error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OUT_OF:
            return from_error(UnavailableError(f"The daemon cannot do this just now: {error.strerror}"))
        log.exception("api.unforeseen", method=request.method, path=request.path)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Timeball made a mistake; its log says which.")


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    headers = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers["Allow"] = allowed
        detail = f"{request.method} is not possible on {request.path}; use one of {allowed}"
    elif isinstance(error, web.HTTPNotFound):
        detail = f"There is nothing at {_shown(request.path)}"
        if request.path.endswith("/"):
            detail += "; leave out the '/' at its end"
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = (
            f"The body is larger than {request.client_max_size} bytes; "
            "send a smaller one, or have the daemon's max_body_bytes raised"
        )
    else:
        detail = error.text or error.reason
    return problem(HTTPStatus(error.status), detail, headers=headers)
