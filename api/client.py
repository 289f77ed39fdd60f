"""Speaks to a daemon over HTTP: the base of every command but `serve`.

Finds the daemon's address and the token, sends requests, and turns what comes back into data or into errors that
say what was wrong. Needs the standard library alone, so that commands start quickly.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from api.wording import for_the_command

DEFAULT_URL: Final = "http://127.0.0.1:8601"
DEFAULT_DATA_DIR: Final = "~/.timeball"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file's name
#: The status of HTTP for what is malformed or invalid; commands end with it as with any other wrong usage.
BAD_REQUEST: Final = 400
#: Seconds that a daemon may be silent before it counts as unreachable.
PATIENCE: Final = 60.0


class ClientError(Exception):
    """Why a command cannot go on, for its user."""

    #: The status that the command ends with.
    exit_status = 1


class UsageError(ClientError):
    """What the command was given, or finds around it, does not do."""

    exit_status = 2


class UnreachableError(ClientError):
    """Nothing answers at the daemon's address, or the connection broke."""

    exit_status = 3


class ApiError(ClientError):
    """The daemon refused.

    Attributes:
        status: of HTTP.
        problem: the problem details (RFC 9457) as they came; empty if there were none.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], text: str) -> None:
        self.status = status
        self.problem = problem
        super().__init__(
            for_the_command(str(problem.get("detail") or text or f"The daemon answered with status {status}"))
        )
        if status == BAD_REQUEST:
            self.exit_status = UsageError.exit_status


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A response of the class 2xx, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as data; None if there is none.

        Raises:
            ClientError: it is no JSON, so that something other than a daemon answers there.
        """
        try:
            return json.loads(self.body) if self.body else None
        except ValueError as error:
            raise ClientError(
                "What answers there is no Timeball daemon: its answer is no JSON. Look at TIMEBALL_URL"
            ) from error


class Client:
    """One daemon's API.

    Args:
        url: the daemon's address, `http://…` or `https://…`, with a path if a proxy puts it below one.
        token: is sent with every request.

    Raises:
        UsageError: the address is none.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        try:
            parts = urlsplit(self.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is no address of a daemon: {error}") from error
        if parts.scheme not in ("http", "https") or not self._host:
            raise UsageError(
                f"{url!r} is no address of a daemon: write it like {DEFAULT_URL} or https://timeball.example.com"
            )
        self._is_tls = parts.scheme == "https"
        self._base = parts.path

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: object = None,
        timeout: float = PATIENCE,
    ) -> ApiResponse:
        """Send a request, and read the answer to its end.

        Args:
            method: of HTTP.
            path: below the address, such as `/v1/jobs`.
            query: parameters.
            body: is sent as JSON; None sends none.
            timeout: seconds that the daemon may be silent.

        Raises:
            UnreachableError: nothing answers.
            ApiError: the daemon refused.
        """
        with self.open(method, path, query=query, body=body, timeout=timeout) as response:
            return ApiResponse(response.status, dict(response.headers.items()), _read(response, self.url))

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: object = None,
        timeout: float = PATIENCE,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request whose answer is to be read bit by bit; the arguments are those of `request`.

        Raises:
            UnreachableError: nothing answers.
            ApiError: the daemon refused.
        """
        headers = {"Accept": "application/json, */*"}
        if self._token:
            headers["Authorization"] = f"Token {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        target = self._base + path + (f"?{urlencode(query)}" if query else "")
        connection = self._connection(timeout)
        try:
            try:
                connection.request(method, target, body=data, headers=headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if not 200 <= response.status < 300:
                raise _refusal(response.status, _read(response, self.url))
            yield response
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._is_tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)

    def _unreachable(self, error: Exception) -> UnreachableError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return UnreachableError(
            f"No daemon answers at {self.url}: {reason}. Start one with 'timeball serve', "
            "or name another address with TIMEBALL_URL"
        )


def find_url() -> str:
    """The daemon's address: `TIMEBALL_URL`, else this machine's usual port."""
    return os.environ.get("TIMEBALL_URL") or DEFAULT_URL


def find_data_dir(data_dir: Path | None = None) -> Path:
    """The data directory: as given, else `TIMEBALL_DATA_DIR`, else the usual one."""
    return Path(data_dir or os.environ.get("TIMEBALL_DATA_DIR") or DEFAULT_DATA_DIR).expanduser().absolute()


def find_token(data_dir: Path | None = None) -> str:
    """The token: `TIMEBALL_TOKEN`, else what the data directory's token file holds.

    Raises:
        UsageError: there is neither.
    """
    if token := os.environ.get("TIMEBALL_TOKEN", "").strip():
        return token
    path = find_data_dir(data_dir) / TOKEN_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it holds no token"
        raise UsageError(
            f"There is no token to send: TIMEBALL_TOKEN is not set, and {path} cannot be read ({reason}). "
            "Set TIMEBALL_TOKEN, or name the daemon's directory with TIMEBALL_DATA_DIR"
        ) from error


def connect(data_dir: Path | None = None) -> Client:
    """A client of the daemon that environment and data directory name.

    Raises:
        UsageError: the address is none, or there is no token.
    """
    return Client(find_url(), find_token(data_dir))


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"The connection to {url} broke before the answer's end: {error}") from error


def _refusal(status: int, body: bytes) -> ApiError:
    text = body.decode("utf-8", "replace")
    try:
        problem = json.loads(text)
    except ValueError:
        problem = {}
    return ApiError(status, problem if isinstance(problem, dict) else {}, text.strip()[:500])
