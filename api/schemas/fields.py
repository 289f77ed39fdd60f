"""The fields that jobs and triggers share, with their checks and error messages.

Pure. Each type is an annotation for pydantic whose check raises an error with a message and a remedy.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from api.schemas.common import (
    BREAKS,
    NAMESPACE_PATTERN,
    NO_NUL,
    ONE_LINE,
    SECRET_REFERENCE,
    SPACES,
    Whole,
    refuse,
    shown_as,
)
from scheduler.domain.job import HIGHEST_PRIORITY, FailReason
from scheduler.domain.secret import NAME_REMEDY, REFERENCE, is_name

T = TypeVar("T")

LARGEST_COMMAND_BYTES: Final = 128 * 1024
#: Linux accepts at most 128 KiB for a variable, including its name.
LARGEST_VARIABLE_BYTES: Final = 128 * 1024 - 2
LARGEST_VARIABLES_BYTES: Final = 512 * 1024
MOST_ENTRIES: Final = 1_000
LONGEST_LABEL: Final = 1_000
LONGEST_SHOWN_NUMBER: Final = 40

# The grammar of image names, from the distribution project's reference package.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
_REPOSITORY = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*", re.ASCII)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NAMESPACE = re.compile(r"\w[\w.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,126}[A-Za-z0-9])?", re.ASCII)
#: Unicode categories that would break a line or control a terminal: controls, line and paragraph separators.
_UNSHOWABLE: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})


def is_one_line(text: str) -> bool:
    """Whether a text contains no characters that would break a line or control a terminal."""
    return not any(unicodedata.category(character) in _UNSHOWABLE for character in text)


def _check_name(name: str) -> str:
    if not name.strip():
        raise refuse("is empty", "give the job a name")
    if name != name.strip():
        raise refuse("begins or ends with white space", "remove it")
    if not is_one_line(name):
        raise refuse("contains a control character or a line break", "remove it")
    return name


def _check_namespace(name: str) -> str:
    if not is_namespace(name):
        raise refuse("is not a valid name of a namespace", NAMESPACE_REMEDY)
    return name


NAMESPACE_REMEDY: Final = (
    "use letters, digits, '.', '_' and '-', at most 100 characters, and start with a letter, a digit or '_'"
)


def is_namespace(name: str) -> bool:
    """Whether a namespace could have that name."""
    return _NAMESPACE.fullmatch(name) is not None


def _check_repository(repository: str) -> str:
    if _REPOSITORY.fullmatch(repository):
        return repository
    head, colon, tag = repository.rpartition(":")
    if "://" in repository:
        remedy = "remove the scheme: registry.example.com/team/image"
    elif "@" in repository:
        remedy = "remove '@' and what follows it, and set docker_image_tag"
    elif colon and _REPOSITORY.fullmatch(head.lower()) and _TAG.fullmatch(tag):
        remedy = f'write "docker_image_repo": "{head.lower()}" and "docker_image_tag": "{tag}"'
    elif _REPOSITORY.fullmatch(repository.lower()):
        remedy = f"use lower case: {repository.lower()}"
    else:
        remedy = "write it like busybox, team/image or registry.example.com:5000/team/image"
    raise refuse("is not a valid name of an image repository", remedy)


def _check_tag(tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise refuse(
            "is not a valid image tag",
            "use letters, digits, '_', '.' and '-', at most 128 characters, and start with a letter, a digit or '_'",
        )
    return tag


def _check_text(text: str) -> str:
    if "\x00" in text:
        raise refuse("contains a NUL character", "remove it")
    return text


def _check_command_type(command: object) -> object:
    """Report once what a union of types would report for each of its types."""
    if command is None or isinstance(command, str):
        return command
    if not isinstance(command, list):
        raise refuse(
            "is neither a string nor a list of strings",
            'write "sh -c true", ["sh", "-c", "true"], or null for the image\'s own command',
        )
    for number, word in enumerate(command, 1):
        if not isinstance(word, str):
            raise refuse(f"has an entry that is not a string at position {number}", "put it in quotes")
    return command


def _check_command(command: str | list[str] | None) -> str | list[str] | None:
    words = [command] if isinstance(command, str) else command or []
    for word in words:
        _check_text(word)
    if sum(len(word.encode()) for word in words) > LARGEST_COMMAND_BYTES:
        raise refuse(f"is longer than {LARGEST_COMMAND_BYTES} bytes", "move the script into the image")
    return command


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise refuse(
            "is not a valid name of a variable",
            "use letters, digits, '_', '.' and '-', and start with a letter or '_'",
        )
    return name


def _check_variables(variables: dict[str, T]) -> dict[str, T]:
    if len(variables) > MOST_ENTRIES:
        raise refuse(f"has {len(variables)} entries", f"use at most {MOST_ENTRIES}")
    total = 0
    for name, value in variables.items():
        size = len(name.encode()) + (len(value.encode()) if isinstance(value, str) else 0)
        if size > LARGEST_VARIABLE_BYTES:
            raise refuse(
                f"has {size} bytes in {name[:100]}",
                f"use at most {LARGEST_VARIABLE_BYTES} bytes per variable",
            )
        total += size
    if total > LARGEST_VARIABLES_BYTES:
        raise refuse(f"has {total} bytes in total", f"use at most {LARGEST_VARIABLES_BYTES} bytes")
    return variables


def _check_value(value: object) -> object:
    """Check for text or a reference to a secret, with one error instead of one for each type of a union."""
    if isinstance(value, str):
        return _check_text(value)
    if value is None:
        raise refuse("is null", 'write a JSON string, such as "text", or {"secret": "name"}')
    if not isinstance(value, dict):
        text = json.dumps(value)
        if isinstance(value, int | float) and len(text) <= LONGEST_SHOWN_NUMBER:
            raise refuse("is not a string", f'write it in quotes: "{text}"')
        raise refuse("is not a string", 'write a JSON string, such as "text", or {"secret": "name"}')
    name = value.get(REFERENCE)
    if set(value) != {REFERENCE} or not isinstance(name, str) or not is_name(name):
        raise refuse(
            "is not a reference to a secret", f'write {{"secret": "name"}}; for the name, {NAME_REMEDY}'
        )
    return value


def _check_label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise refuse(
            "is not a valid name of a label",
            "use letters, digits, '.', '_', '-' and '/', at most 128 characters, and start and end with a "
            "letter or digit",
        )
    return name


def _check_label_value(value: str) -> str:
    if len(value) > LONGEST_LABEL:
        raise refuse(f"has {len(value)} characters", f"use at most {LONGEST_LABEL} characters")
    if not is_one_line(value):
        raise refuse("contains a control character or a line break", "remove it")
    return value


def _check_labels(labels: dict[str, str]) -> dict[str, str]:
    if len(labels) > MOST_ENTRIES:
        raise refuse(f"has {len(labels)} entries", f"use at most {MOST_ENTRIES}")
    return labels


def _check_retry_on(names: object) -> object:
    """Check a list of reasons for failure, with one error that has a remedy."""
    possible = ", ".join(FailReason)
    if not isinstance(names, list | tuple):
        raise refuse(
            "is not a list",
            f'write a list such as ["exit_code"] with values out of {possible}; [] disables retries',
        )
    for number, name in enumerate(names, 1):
        if name not in tuple(FailReason):
            raise refuse(f"has an invalid entry at position {number}", f"use {possible}")
        if name in names[: number - 1]:
            raise refuse(f"contains {name} twice", "list it once")
    return tuple(FailReason(name) for name in names)


Priority = Annotated[Whole, Field(ge=-HIGHEST_PRIORITY, le=HIGHEST_PRIORITY)]
"""Higher priorities start first."""
RetryOn = Annotated[
    tuple[FailReason, ...], BeforeValidator(_check_retry_on), Field(json_schema_extra={"uniqueItems": True})
]
"""The reasons for failure that are retried, up to `max_retries` times."""
Name = Annotated[
    str,
    StringConstraints(max_length=200),
    AfterValidator(_check_name),
    shown_as(
        minLength=1,
        maxLength=200,
        pattern=f"^[^{BREAKS}{SPACES}](?:[^{BREAKS}]*[^{BREAKS}{SPACES}])?$",
    ),
]
Namespace = Annotated[str, AfterValidator(_check_namespace), shown_as(pattern=NAMESPACE_PATTERN)]
Repository = Annotated[
    str,
    StringConstraints(max_length=255),
    AfterValidator(_check_repository),
    shown_as(maxLength=255, pattern=f"^{_REPOSITORY.pattern}$"),
]
Tag = Annotated[str, AfterValidator(_check_tag), shown_as(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}$")]
Text = Annotated[
    str,
    StringConstraints(max_length=1_000),
    AfterValidator(_check_text),
    shown_as(maxLength=1_000, pattern=NO_NUL),
]
_Word = Annotated[str, shown_as(pattern=NO_NUL)]
CommandIn = Annotated[
    _Word | list[_Word] | None, AfterValidator(_check_command), BeforeValidator(_check_command_type)
]
"""A string is split into words like in a shell; a list is used as it is; null, an empty string and an empty list run
the image's own command."""
_VARIABLES: Final[dict[str, Any]] = {
    "type": "object",
    "maxProperties": MOST_ENTRIES,
    "propertyNames": {"pattern": r"^[A-Za-z_][A-Za-z0-9_.\-]*$"},
}
_VALUE: Final = {"type": "string", "pattern": NO_NUL}
Variables = Annotated[
    dict[Annotated[str, AfterValidator(_check_variable)], Annotated[str, AfterValidator(_check_text)]],
    AfterValidator(_check_variables),
    WithJsonSchema(_VARIABLES | {"additionalProperties": _VALUE}),
]
JobVariables = Annotated[
    dict[
        Annotated[str, AfterValidator(_check_variable)],
        Annotated[str | dict[str, str], BeforeValidator(_check_value)],
    ],
    AfterValidator(_check_variables),
    WithJsonSchema(_VARIABLES | {"additionalProperties": {"anyOf": [_VALUE, SECRET_REFERENCE]}}),
]
"""The variables of a job, which can refer to secrets, unlike those of a trigger."""
Labels = Annotated[
    dict[Annotated[str, AfterValidator(_check_label)], Annotated[str, AfterValidator(_check_label_value)]],
    AfterValidator(_check_labels),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MOST_ENTRIES,
            "propertyNames": {"pattern": r"^[A-Za-z0-9](?:[A-Za-z0-9_.\/\-]{0,126}[A-Za-z0-9])?$"},
            "additionalProperties": {"type": "string", "maxLength": LONGEST_LABEL, "pattern": ONE_LINE},
        }
    ),
]
