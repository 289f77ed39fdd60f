"""Every error becomes RFC 9457 problem details: `application/problem+json`.

A middleware around all handlers. Errors of the core are translated by their class; unexpected errors are logged with
their traceback and answered with 500, without details.
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

from api.wording import for_the_api
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
    shown,
)

log = structlog.get_logger()

CONTENT_TYPE: Final = "application/problem+json"

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


#: The machine has run out of something; the request is not at fault.
_OUT_OF: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class ProblemField(TypedDict):
    """An invalid field of the input.

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
    """Problem details as RFC 9457 defines them.

    Attributes:
        type: the kind of problem, as a URN.
        title: the HTTP status in words.
        status: the HTTP status.
        detail: what is wrong and what to do.
        errors: one entry for each invalid field of the input.
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
        detail: what is wrong and what to do.
        errors: one for each invalid field of the input.
        headers: additional headers.
    """
    body: Problem = {
        "type": f"urn:timeball:problem:{status.phrase.lower().replace(' ', '-')}",
        "title": status.phrase,
        "status": status.value,
        "detail": for_the_api(detail),
    }
    if errors:
        body["errors"] = [
            {
                "field": shown(e.field),
                "value": shown(e.value),
                "message": for_the_api(e.message),
                "remedy": for_the_api(e.remedy),
            }
            for e in errors
        ]
    return web.Response(
        status=status.value,
        body=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        content_type=CONTENT_TYPE,
        headers=headers,
    )


def from_error(error: TimeballError) -> web.Response:
    """The problem details of an error of the core."""
    status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        log.error("api.unforeseen", error=str(error), exc_info=error)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "An internal error occurred. The daemon's log has the details."
        )
    headers: dict[str, str] = {}
    errors: tuple[FieldError, ...] = ()
    if isinstance(error, InvalidInputError):
        errors = tuple(error.errors)
    if isinstance(error, UnavailableError | TooManyError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Token realm="timeball"'
    return problem(status, str(error), errors=errors, headers=headers)


@web.middleware
async def problems_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error as problem details."""
    try:
        request.url  # noqa: B018 - parsed here, where an invalid Host can still be rejected (RFC 9112, 3.2)
    except ValueError:
        host = shown(request.headers.get("Host", ""))
        return problem(
            HTTPStatus.BAD_REQUEST, f"The header 'Host: {host}' is not a valid host. Send the daemon's host."
        )
    try:
        return await handler(request)
    except TimeballError as error:
        return from_error(error)
    except web.HTTPException as error:
        return _from_http(request, error)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OUT_OF:
            return from_error(
                UnavailableError(
                    f"The daemon cannot process the request now: {error.strerror}. Try again later."
                )
            )
        log.exception("api.unforeseen", method=request.method, path=request.path)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "An internal error occurred. The daemon's log has the details."
        )


def _from_http(request: web.Request, error: web.HTTPException) -> web.Response:
    headers = {}
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        headers["Allow"] = allowed
        detail = f"{request.method} is not allowed on {request.path}. Use one of {allowed}."
    elif isinstance(error, web.HTTPNotFound):
        detail = f"The path {shown(request.path)} does not exist."
        if request.path.endswith("/"):
            detail += " Remove the '/' at its end."
    elif isinstance(error, web.HTTPRequestEntityTooLarge):
        detail = (
            f"The body is larger than {request.client_max_size} bytes. "
            "Send a smaller body, or ask an administrator to raise max_body_bytes."
        )
    else:
        detail = error.text or error.reason
    return problem(HTTPStatus(error.status), detail, headers=headers)
