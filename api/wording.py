"""How each interface words what the core can only name.

The core's errors know neither HTTP nor the command. Where an error suggests something that callers do differently in
each interface, it carries a placeholder (`scheduler.domain.errors.How`). The API replaces it with its own words when
it answers, and the command replaces those with its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from scheduler.domain.errors import How


class Words(NamedTuple):
    """The words of each interface for one thing to do."""

    api: str
    command: str


WORDS: Final[Mapping[How, Words]] = {
    How.FORCE: Words(api="?force=true", command="--force"),
    How.ALL: Words(api="?all=true", command="--all"),
    How.NAME: Words(api="?name=", command="the name"),
    How.AUTHENTICATE: Words(
        api="send the header 'Authorization: Token <token>'",
        command="set TIMEBALL_TOKEN, or log in as a user that can read the daemon's data directory",
    ),
}


def for_the_api(text: str) -> str:
    """A text of the core in the words of the API."""
    for how, words in WORDS.items():
        text = text.replace(how, words.api)
    return text


def for_the_command(text: str) -> str:
    """A text that the API answered in the words of the command."""
    for words in WORDS.values():
        text = text.replace(words.api, words.command)
    return text
