"""The outermost middleware: the origin of requests, the accepted hosts, and security headers of answers.

What a proxy says about the client only counts if the operator trusts that proxy.
"""

from __future__ import annotations

import ipaddress
import re
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from api.http.keys import ORIGIN, TRUST
from api.http.problems import problem
from api.http.proxies import HOST, Trust
from scheduler.access.callers import Origin
from scheduler.domain import chance

#: Sent with every answer, unless the answer has its own.
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SERVER: Final = "Timeball"  # without a version, which would only help attackers
REQUEST_ID: Final = "X-Request-Id"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
#: A year, as browsers recommend.
_HSTS: Final = "max-age=31536000"


@web.middleware
async def hardening_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Determine the origin of the request, and reject requests for other hosts."""
    trust = request.app[TRUST]
    received = request
    if trust.is_proxy(request.remote):
        request = _as_forwarded(request, trust)
    given = request.headers.get(REQUEST_ID, "")
    # aiohttp prepares the answer with the request that it received.
    received[ORIGIN] = request[ORIGIN] = Origin(
        remote=request.remote or "",
        request_id=given if _REQUEST_ID.fullmatch(given) else chance.new_hex(),
        method=request.method,
        path=request.path,
    )
    host = request.headers.get("Host")
    if host is not None and not trust.answers_for(host):
        return problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"The daemon does not answer for the host '{host[:200]}'. Use localhost, or ask an administrator to add "
            "the name to allowed_hosts.",
        )
    return await handler(request)


def _as_forwarded(request: web.Request, trust: Trust) -> web.Request:
    """The request as it reached the first trusted proxy."""
    hops = [hop.strip() for hop in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
    remote = request.remote or ""
    for hop in reversed([hop for hop in hops if hop]):
        address = hop.strip("[]") if hop.count(":") != 1 else hop.partition(":")[0]
        try:
            ipaddress.ip_address(address)
        except ValueError:
            break
        remote = address
        if not trust.is_proxy(address):
            break
    scheme = request.headers.get("X-Forwarded-Proto", "").strip().lower()
    host = request.headers.get("X-Forwarded-Host", "").strip()
    return request.clone(
        remote=remote,
        scheme=scheme if scheme in {"http", "https"} else request.scheme,
        host=host if host and HOST.fullmatch(host) else request.host,
    )


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers to an answer before it is sent."""
    add_headers(response.headers, is_secure=request.secure)
    if (origin := request.get(ORIGIN)) is not None and origin.request_id:
        response.headers[REQUEST_ID] = origin.request_id


def add_headers(headers: CIMultiDict[str], *, is_secure: bool) -> None:
    """Add the headers that an answer does not have."""
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers["Server"] = SERVER
    if is_secure:
        headers.setdefault("Strict-Transport-Security", _HSTS)
