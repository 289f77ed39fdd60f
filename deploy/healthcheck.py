"""Tells the engine whether the daemon in this container is alive: the exit status is 0 if it is, 1 if not.

Uses the same variables as the daemon. Its certificate is not checked, because it is for another name than this
address.
"""

import http.client
import os
import ssl
import sys
import urllib.request

PORT = os.environ.get("TIMEBALL_PORT", "8601")
UNCHECKED = ssl._create_unverified_context()  # noqa: S323, SLF001 - see above

for scheme in ("http", "https"):
    try:
        urllib.request.urlopen(f"{scheme}://127.0.0.1:{PORT}/healthz", timeout=2, context=UNCHECKED)  # noqa: S310
    except (OSError, http.client.HTTPException):
        continue
    sys.exit(0)
sys.exit(1)
