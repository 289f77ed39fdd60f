"""An HTTP client of the daemon, used by all commands except `serve`.

Finds the daemon's address and the token, sends requests, and turns responses into data or errors. Uses only the
standard library, so that commands start quickly.
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

DEFAULT_URL: Final = "http://127.0.0.1:8601"
DEFAULT_DATA_DIR: Final = "~/.timeball"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file's name
#: The HTTP status for invalid input. Commands treat it like a usage error.
BAD_REQUEST: Final = 400
#: Seconds of silence after which a daemon counts as unreachable.
PATIENCE: Final = 60.0


class ClientError(Exception):
    """An error that ends a command and is shown to the user."""

    #: The exit status of the command.
    exit_status = 1


class UsageError(ClientError):
    """The arguments, files or environment of the command are wrong."""

    exit_status = 2


class UnreachableError(ClientError):
    """The daemon cannot be reached, or the connection broke."""

    exit_status = 3


class ApiError(ClientError):
    """The daemon rejected a request.

    Attributes:
        status: the HTTP status.
        problem: the problem details (RFC 9457); empty if there were none.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], text: str) -> None:
        from api.wording import for_the_command  # loads a part of the core, which other commands do without

        self.status = status
        self.problem = problem
        super().__init__(
            for_the_command(
                str(problem.get("detail") or text or f"The daemon responded with HTTP status {status}.")
            )
        )
        if status == BAD_REQUEST:
            self.exit_status = UsageError.exit_status


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A complete response with a 2xx status."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as data, or None without a body.

        Raises:
            ClientError: the body is not valid JSON, so the server is not a Timeball daemon.
        """
        try:
            return json.loads(self.body) if self.body else None
        except ValueError as error:
            raise ClientError(
                "The server's response is not valid JSON, so it is not a Timeball daemon. Check TIMEBALL_URL."
            ) from error


class Client:
    """A client of a daemon's API.

    Args:
        url: the daemon's address, `http://…` or `https://…`, with a path if a proxy serves it below one.
        token: the token sent with every request.

    Raises:
        UsageError: the address is not valid.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        try:
            parts = urlsplit(self.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise UsageError(
                f"{url!r} is not a valid address of a daemon: {error}. Check TIMEBALL_URL."
            ) from error
        if parts.scheme not in ("http", "https") or not self._host:
            raise UsageError(
                f"{url!r} is not a valid address of a daemon. Use an address such as {DEFAULT_URL} or "
                "https://timeball.example.com."
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
        """Send a request, and read the whole response.

        Args:
            method: the HTTP method.
            path: the path below the address, such as `/v1/jobs`.
            query: the query parameters.
            body: the body, sent as JSON; None for no body.
            timeout: seconds that the daemon may be silent.

        Raises:
            UnreachableError: the daemon cannot be reached.
            ApiError: the daemon rejected the request.
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
        """Send a request and return the response for reading piece by piece. The arguments are those of `request`.

        Raises:
            UnreachableError: the daemon cannot be reached.
            ApiError: the daemon rejected the request.
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
            f"Cannot connect to the daemon at {self.url}: {reason}. Start it with 'timeball serve', "
            "or set another address with TIMEBALL_URL."
        )


def find_url() -> str:
    """The daemon's address: `TIMEBALL_URL`, or the default port on this machine."""
    return os.environ.get("TIMEBALL_URL") or DEFAULT_URL


def find_data_dir(data_dir: Path | None = None) -> Path:
    """The data directory: the given one, `TIMEBALL_DATA_DIR`, or the default."""
    return Path(data_dir or os.environ.get("TIMEBALL_DATA_DIR") or DEFAULT_DATA_DIR).expanduser().absolute()


def find_token(data_dir: Path | None = None) -> str:
    """The token: `TIMEBALL_TOKEN`, or the contents of the token file in the data directory.

    Raises:
        UsageError: neither exists.
    """
    if token := os.environ.get("TIMEBALL_TOKEN", "").strip():
        return token
    path = find_data_dir(data_dir) / TOKEN_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it does not contain a token"
        raise UsageError(
            f"No token was found: TIMEBALL_TOKEN is not set, and {path} cannot be read ({reason}). "
            "Set TIMEBALL_TOKEN, or set TIMEBALL_DATA_DIR to the daemon's data directory."
        ) from error


def connect(data_dir: Path | None = None) -> Client:
    """A client of the daemon that the environment and the data directory select.

    Raises:
        UsageError: the address is not valid, or no token was found.
    """
    return Client(find_url(), find_token(data_dir))


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(
            f"The connection to {url} broke before the end of the response: {error}"
        ) from error


def _refusal(status: int, body: bytes) -> ApiError:
    text = body.decode("utf-8", "replace")
    try:
        problem = json.loads(text)
    except ValueError:
        problem = {}
    return ApiError(status, problem if isinstance(problem, dict) else {}, text.strip()[:500])
