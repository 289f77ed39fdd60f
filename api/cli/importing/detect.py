"""Which format a file is of, and its reader. Pure."""

from __future__ import annotations

from enum import StrEnum

from api.cli.declaring.documents import DocumentError, Node, read_documents
from api.cli.importing.chronos import read_chronos
from api.cli.importing.cronjob import read_cronjobs
from api.cli.importing.crontab import looks_like_crontab, read_crontab
from api.cli.importing.ofelia_files import looks_like_ini, read_compose, read_ini, read_inspected
from api.cli.importing.result import FormatError, Imported


class Format(StrEnum):
    """What a file may be."""

    CRONTAB = "crontab"
    CHRONOS = "chronos"
    CRONJOB = "cronjob"  # of Kubernetes
    OFELIA = "ofelia"  # INI, Compose or docker inspect


def read(text: str, file: str, form: Format | None = None) -> tuple[Format, Imported]:
    """The jobs of a file, and what it was.

    Args:
        text: of the file.
        file: its name.
        form: what it is; None to find out.

    Raises:
        FormatError: it is not of that format, or of none that is known.
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
    if any(_has(one, "Config") for document in documents for one in _members(document)):
        return read_inspected(documents)
    raise FormatError(
        None, "is neither Ofelia's INI, nor a Compose file with services, nor what 'docker inspect' prints"
    )


def _guess(documents: list[Node], text: str) -> Format:
    members = [one for document in documents for one in _members(document)]
    if any(_has(one, "kind") for one in members):
        return Format.CRONJOB
    if any(_has(one, "services") or _has(one, "Config") for one in members):
        return Format.OFELIA
    if any(_has(one, "jobs") for one in members):
        raise FormatError(None, "is in the form that 'timeball apply' reads: use 'timeball apply -f'")
    if any(_has(one, "name") and (_has(one, "schedule") or _has(one, "parents")) for one in members):
        return Format.CHRONOS
    if looks_like_crontab(text):
        return Format.CRONTAB
    raise FormatError(None, f"is of no known format: name it with --from {'|'.join(Format)}")


def _members(document: Node) -> list[Node]:
    return list(document.value) if isinstance(document.value, list) else [document]


def _has(node: Node, name: str) -> bool:
    return isinstance(node.value, dict) and name in node.value
