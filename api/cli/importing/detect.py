"""Detects the format of a file, and reads it. Pure."""

from __future__ import annotations

from enum import StrEnum

from api.cli.declaring.documents import DocumentError, Node, read_documents
from api.cli.importing.chronos import read_chronos
from api.cli.importing.cronjob import read_cronjobs
from api.cli.importing.crontab import looks_like_crontab, read_crontab
from api.cli.importing.ofelia_files import looks_like_ini, read_compose, read_ini, read_inspected
from api.cli.importing.result import FormatError, Imported


class Format(StrEnum):
    """The formats that can be imported."""

    CRONTAB = "crontab"
    CHRONOS = "chronos"
    CRONJOB = "cronjob"  # Kubernetes
    OFELIA = "ofelia"  # INI, Compose or docker inspect


def read(text: str, file: str, form: Format | None = None) -> tuple[Format, Imported]:
    """The format of a file, and its jobs.

    Args:
        text: the contents of the file.
        file: the name of the file.
        form: the format; None to detect it.

    Raises:
        FormatError: the file does not have that format, or its format is unknown.
    """
    if looks_like_ini(text) and form in (None, Format.OFELIA):
        return Format.OFELIA, read_ini(text)
    documents: list[Node] = []
    if form is not Format.CRONTAB:
        try:
            documents = read_documents(text)
        except DocumentError as error:
            if form is not None or not looks_like_crontab(text):
                raise FormatError(error.line, error.message) from error
            form = Format.CRONTAB
    found = form or _guess(documents, text)
    return found, read_crontab(text, file) if found is Format.CRONTAB else _read_documents(documents, found)


def _read_documents(documents: list[Node], form: Format) -> Imported:
    if not documents:
        raise FormatError(None, "the file is empty")
    if form is Format.CHRONOS:
        return read_chronos(documents)
    if form is Format.CRONJOB:
        return read_cronjobs(documents)
    if any(_has(document, "services") for document in documents):
        return read_compose(documents)
    if any(_has(member, "Config") for document in documents for member in _members(document)):
        return read_inspected(documents)
    raise FormatError(
        None, "is not an Ofelia INI file, a Compose file with services, or the output of 'docker inspect'"
    )


def _guess(documents: list[Node], text: str) -> Format:
    members = [member for document in documents for member in _members(document)]
    if any(_has(member, "kind") for member in members):
        return Format.CRONJOB
    if any(_has(member, "services") or _has(member, "Config") for member in members):
        return Format.OFELIA
    if any(_has(member, "jobs") for member in members):
        raise FormatError(None, "is a file for 'timeball apply'; run 'timeball apply -f' instead")
    if any(_has(item, "name") and (_has(item, "schedule") or _has(item, "parents")) for item in members):
        return Format.CHRONOS
    if looks_like_crontab(text):
        return Format.CRONTAB
    raise FormatError(None, f"has an unknown format; name it with --from {'|'.join(Format)}")


def _members(document: Node) -> list[Node]:
    return list(document.value) if isinstance(document.value, list) else [document]


def _has(node: Node, name: str) -> bool:
    return isinstance(node.value, dict) and name in node.value
