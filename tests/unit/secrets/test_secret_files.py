"""Secrets as files: in which directories they lie, whose they are, and where none can be."""

from __future__ import annotations

import io
import tarfile

import pytest

from scheduler.domain.job import ContainerOptions, Mount
from scheduler.domain.secret_files import (
    ARCHIVE_END,
    SecretFile,
    archive_of,
    check_secret_files,
    directories_of,
    files_of,
    owner_of,
)


@pytest.mark.parametrize(
    ("paths", "directories"),
    [
        ([], ()),
        (["/run/secrets/db"], ("/run/secrets",)),
        (["/run/secrets/db", "/run/secrets/tls/key"], ("/run/secrets",)),
        (["/run/secrets/tls/key", "/run/secrets-2/a"], ("/run/secrets-2", "/run/secrets/tls")),
        (["/b/x", "/a/c/x", "/a/x"], ("/a", "/b")),
    ],
)
def test_files_lie_in_as_few_directories_as_can_be(paths: list[str], directories: tuple[str, ...]) -> None:
    """What lies below another is a part of that."""
    assert directories_of(paths) == directories


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        (None, None),
        ("1000", (1000, 0)),
        ("1000:2000", (1000, 2000)),
        ("1000:staff", (1000, 0)),
        ("0", (0, 0)),
        ("app", None),
        ("app:1000", None),
        ("99999999999", None),
    ],
)
def test_a_file_is_the_users_where_a_number_says_who_that_is(
    user: str | None, owner: tuple[int, int] | None
) -> None:
    """Whom a name means is known in the image alone; then everybody in the container may read."""
    assert owner_of(user) == owner


def test_an_archive_has_the_files_of_one_directory_and_ends_when_it_is_told_to() -> None:
    """Each with its mode, its owner and its time; and no secret is in the words for a file."""
    files = files_of({"/s/tls/key": "k", "/s/db": "d", "/other/x": "d"}, {"k": "kkk", "d": "ddd"}, "7:8")
    assert "kkk" not in repr(files)
    raw = archive_of(files, "/s", mtime=99)
    with tarfile.open(fileobj=io.BytesIO(raw + ARCHIVE_END)) as tar:
        found = {entry.name: entry for entry in tar}
        content = tar.extractfile("tls/key")
        assert content is not None
        assert content.read() == b"kkk"
    assert list(found) == ["db", "tls", "tls/key"]
    assert {(e.mode, e.uid, e.gid, e.mtime) for e in found.values() if e.isfile()} == {(0o400, 7, 8, 99)}
    open_to_all = archive_of([SecretFile("/s/a", b"x")], "/s", mtime=1)
    with tarfile.open(fileobj=io.BytesIO(open_to_all + ARCHIVE_END)) as tar:
        assert tar.getmember("a").mode == 0o444


@pytest.mark.parametrize(
    ("paths", "mounts", "words"),
    [
        (["/etc/passwd"], (), "would hide all files of the image in /etc"),
        (["/db"], (), "would hide all files of the image in /:"),
        (["/usr/bin/x"], (), "would hide"),
        (["/data/secrets/x"], (Mount("/srv", "/data"),), "which overlaps the mount at /data"),
        (["/data/x"], (Mount("/srv", "/data/sub"),), "which overlaps the mount at /data/sub"),
        (["/s/a", "/s/a/b"], (), "is below /s/a, which is a file"),
        ([f"/s{number}/a" for number in range(5)], (), "needs 5 in-memory directories"),
    ],
)
def test_where_a_file_cannot_be_is_said(paths: list[str], mounts: tuple[Mount, ...], words: str) -> None:
    """With the field, and what to do."""
    options = ContainerOptions(secret_files=dict.fromkeys(paths, "x"), mounts=mounts)
    errors = check_secret_files(options)
    assert any(words in error.message for error in errors), errors
    assert all(error.field.startswith("secret_files") and error.remedy for error in errors)


def test_usual_places_are_fine() -> None:
    """Beside a mount that is elsewhere."""
    paths = ("/run/secrets/db", "/etc/app/key.pem", "/secrets/x", "/srv/s/x")
    options = ContainerOptions(secret_files=dict.fromkeys(paths, "x"), mounts=(Mount("/srv", "/data"),))
    assert check_secret_files(options) == []
