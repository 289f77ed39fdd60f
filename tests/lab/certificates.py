"""Self-signed certificates for localhost, which are their own authorities."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """Create a certificate with this common name, valid for localhost for two days.

    Returns:
        The files of the certificate and of its key, in PEM.
    """
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    request = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        ["openssl", *request, *subject, "-out", certificate, "-keyout", key], check=True, capture_output=True
    )
    return certificate, key
