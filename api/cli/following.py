"""Follows a run's log as server-sent events, and reconnects where the connection broke."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from api.client import Client

#: Seconds without a daemon after which following stops, and seconds between attempts.
PATIENCE: Final = 60.0
PAUSE: Final = 0.5
#: Seconds of silence after which a connection counts as broken. The daemon sends a comment every fifteen seconds.
SILENCE: Final = 45.0

#: The kind of an event, as the API names it (`line`, `end`, `dropped`), and its data.
Event = tuple[str, dict[str, Any]]


class Following:
    """The log of a run, line by line, which remembers its position.

    Args:
        client: the client of the daemon.
        path: the API path of the run's log.
        query: parameters that select lines.
    """

    def __init__(self, client: Client, path: str, query: Mapping[str, str]) -> None:
        self._client = client
        self._path = path
        self._asked = {**query, "follow": "true"}

    def events(self) -> Iterator[Event]:
        """Each line once, as it is written, and the run's end. A second call continues after the last line.

        Raises:
            UnreachableError: the daemon could not be reached for too long.
            ApiError: the daemon rejected the request.
        """
        from api.client import ApiError, ClientError

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with self._client.open("GET", self._path, query=self._asked, timeout=SILENCE) as response:
                    for kind, data, last in _events(response):
                        deadline = time.monotonic() + PATIENCE
                        place = data.get("resume_from") if kind == "dropped" else last
                        self._asked = _after(self._asked, place)
                        if kind != "dropped":
                            yield kind, data
                        if kind == "end":
                            return
            except (OSError, ClientError) as error:
                is_gone = isinstance(error, ApiError) and error.status != 503
                if is_gone or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE)


def _after(asked: dict[str, str], place: str | None) -> dict[str, str]:
    """The query that continues after a position. It has no `tail`, as those lines were already returned."""
    if not place:
        return asked
    return {name: value for name, value in asked.items() if name != "tail"} | {"cursor": place}


def _events(response: Any) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """The events of a stream: kind, data, id (HTML standard, 9.2.6)."""
    kind, data, place = "line", "", None
    for raw in response:
        line = raw.decode("utf-8").rstrip("\r\n")
        if not line:
            if data:
                yield kind, json.loads(data), place
            kind, data, place = "line", "", None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data += value
        elif name == "id":
            place = value
