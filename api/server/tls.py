"""The API's certificate: read at the start, and again when its files were renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

from scheduler.domain.errors import SettingsError


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server context for TLS 1.2 and newer.

    Raises:
        SettingsError: the files cannot be read, or do not match.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Use the current content of the files for all new connections.

    Raises:
        SettingsError: the files cannot be read, or do not match; the context keeps its certificate.
    """
    # Try it on a separate context first: half a renewal would leave a key without its certificate.
    for target in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
        try:
            # Without a password, OpenSSL would ask for one on the terminal.
            target.load_cert_chain(certificate.expanduser(), key.expanduser(), password="")
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"tls_cert {certificate} and tls_key {key} cannot be used: {error.strerror or error}. "
                "Use PEM files with a certificate, its chain, and the matching key without a password."
            ) from error
