"""Which repository an image name refers to, and whether a pattern of the container policy allows it.

Pure. An image has several names (`busybox`, `docker.io/library/busybox`); comparisons always use the full name.
"""

from __future__ import annotations

import re
from typing import Final

#: The registry of names without a registry, and the folder there of names without a folder.
DEFAULT_HOST: Final = "docker.io"
DEFAULT_FOLDER: Final = "library"
#: Other names of the default registry, which engines treat as the same.
_ALIASES: Final = frozenset({"index.docker.io"})
_PATTERN = re.compile(r"[A-Za-z0-9*][A-Za-z0-9._*/-]*(?::(?:[0-9]{1,5}|\*)/[A-Za-z0-9._*/-]+)?", re.ASCII)


def full_name(repository: str) -> str:
    """The repository with its registry: `docker.io/library/busybox` for `busybox`.

    The rule is that of the distribution project's reference package: a first part with a dot, a colon or a capital
    letter, or `localhost`, is a registry.
    """
    head, slash, rest = repository.partition("/")
    if not slash or not (set(".:[*") & set(head) or head == "localhost" or head != head.lower()):
        head, rest = DEFAULT_HOST, repository
    if head in _ALIASES:
        head = DEFAULT_HOST
    if head == DEFAULT_HOST and "/" not in rest:
        rest = f"{DEFAULT_FOLDER}/{rest}"
    return f"{head}/{rest}"


def host_of(repository: str) -> str:
    """The registry that an image comes from, such as `docker.io` or `registry.example.com:5000`."""
    return full_name(repository).partition("/")[0]


def matches(pattern: str, repository: str) -> bool:
    """Whether a pattern allows a repository; `*` matches any characters, including `/`."""
    if pattern == "*":
        return True
    parts = (re.escape(part) for part in full_name(pattern).split("*"))
    return re.fullmatch(".*".join(parts), full_name(repository), re.DOTALL) is not None


def check_pattern(pattern: str) -> str:
    """The pattern, if it is valid.

    Raises:
        ValueError: it is not; the message says what to write.
    """
    if not _PATTERN.fullmatch(pattern):
        msg = (
            f"'{pattern}' is not a valid image pattern; write a repository without a tag or digest, such as "
            "registry.example.com/team/* or busybox"
        )
        raise ValueError(msg)
    return pattern
