"""The terms of each interface for actions that the core's errors suggest.

The core's errors do not mention HTTP or the command. If an error suggests an action that differs between interfaces,
it contains a placeholder (`scheduler.domain.errors.How`). The API replaces it with its own term when it answers, and
the command replaces that with its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from scheduler.domain.errors import How


class Words(NamedTuple):
    """The terms of each interface for one action."""

    api: str
    command: str


WORDS: Final[Mapping[How, Words]] = {
    How.FORCE: Words(api="?force=true", command="--force"),
    How.ALL: Words(api="?all=true", command="--all"),
    How.NAME: Words(api="?name=", command="the name"),
    How.AUTHENTICATE: Words(
        api="send the header 'Authorization: Token <token>'",
        command="set TIMEBALL_TOKEN, or run the command as a user who can read the daemon's data directory",
    ),
}


def for_the_api(text: str) -> str:
    """A text of the core with the terms of the API."""
    for how, words in WORDS.items():
        text = text.replace(how, words.api)
    return text


def for_the_command(text: str) -> str:
    """A text from the API with the terms of the command."""
    for words in WORDS.values():
        text = text.replace(words.api, words.command)
    return text
