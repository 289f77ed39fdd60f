"""`/openapi.json`, the description of the API, and `/docs`, a page that shows it. Both are public."""

from __future__ import annotations

import asyncio
import hashlib
from importlib.resources import files
from typing import Final

from aiohttp import web

from api.operations.operation import JSON, Answer, described
from api.operations.tags import DAEMON

#: The document of an application and its ETag, built when it is first requested.
DOCUMENT: Final = web.AppKey("openapi_document", dict[str, tuple[bytes, str]])
#: The page loads its script, its style and the document from the daemon, and nothing else.
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_ASSET: Final = {"type": "string"}
_UNCHANGED: Final = Answer("Not changed since the version in `If-None-Match`.")
_TAG: Final = {"ETag": "Identifies this version, for `If-None-Match`."}


@described(
    "Read the OpenAPI document",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={200: Answer("OpenAPI 3.1.", dict[str, object], headers=_TAG), 304: _UNCHANGED},
)
async def get_document(request: web.Request) -> web.Response:
    """`GET /openapi.json`: 200 with the description of the API, or 304."""
    made = request.app[DOCUMENT]
    if JSON not in made:
        # This takes half a second and needs modules of its own, so it is done on a thread, when first requested.
        body = await asyncio.to_thread(_make, request.app)
        made[JSON] = body, _tag(body)
    return _answer(request, *made[JSON], JSON)


@described(
    "Read the documentation page",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={200: Answer("The page.", media={_TYPES["html"]: _ASSET}, headers=_TAG), 304: _UNCHANGED},
)
async def get_page(request: web.Request) -> web.Response:
    """`GET /docs`: 200 with the page."""
    response = _asset(request, "page.html")
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


@described(
    "Read the style of the page",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={200: Answer("The style.", media={_TYPES["css"]: _ASSET}, headers=_TAG), 304: _UNCHANGED},
)
async def get_style(request: web.Request) -> web.Response:
    """`GET /docs/page.css`: 200 with the style."""
    return _asset(request, "page.css")


@described(
    "Read the script of the page",
    tag=DAEMON,
    role=None,
    checks_query=False,
    answers={200: Answer("The script.", media={_TYPES["js"]: _ASSET}, headers=_TAG), 304: _UNCHANGED},
)
async def get_script(request: web.Request) -> web.Response:
    """`GET /docs/page.js`: 200 with the script."""
    return _asset(request, "page.js")


def _make(app: web.Application) -> bytes:
    from api.openapi.document import document_of  # noqa: PLC0415 - see the module's first lines

    return document_of(app)


def _asset(request: web.Request, name: str) -> web.Response:
    body = files("api.openapi").joinpath("page", name).read_bytes()
    return _answer(request, body, _tag(body), _TYPES[name.rpartition(".")[2]])


def _tag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def _answer(request: web.Request, body: bytes, tag: str, content_type: str) -> web.Response:
    """The body, unless the client already has it (RFC 9110, section 13.1.2)."""
    accepted = request.if_none_match or ()
    is_known = any(etag.value in {tag, "*"} for etag in accepted)
    response = web.Response(status=304) if is_known else web.Response(body=body)
    if not is_known:
        response.content_type, response.charset = content_type, "utf-8"
    response.etag = tag
    # Clients ask every time, so that a new version shows immediately; the answer is short if nothing has changed.
    response.headers["Cache-Control"] = "no-cache"
    return response


ROUTES: Final = (
    web.get("/openapi.json", get_document),
    web.get("/docs", get_page),
    web.get("/docs/page.css", get_style),
    web.get("/docs/page.js", get_script),
)
