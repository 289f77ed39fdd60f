"""How deliveries are signed: the headers of the API that Timeball answers like, and those of Standard Webhooks.

The former sign the event's time alone; the latter (https://www.standardwebhooks.com, symmetric signatures `v1`)
sign id, time of sending and body. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Final

from scheduler.domain.hook import moment_text

#: Before a secret that is the base64 of the key; any other text is the key itself.
PREFIX: Final = "whsec_"


def decode(text: str) -> bytes | None:
    """What a text is the base64 of, with or without padding; None if of nothing."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def keys_of(secret: str) -> list[bytes]:
    """The keys that a secret stands for.

    A text without the prefix is the key as it is. The scheme's libraries take every text for base64, so where it
    could be that, a second signature is made with what they would take for the key.
    """
    if secret.startswith(PREFIX):
        key = decode(secret.removeprefix(PREFIX))
        return [] if key is None else [key]
    also = decode(secret)
    return [secret.encode()] if also is None else [secret.encode(), also]


def headers_of(
    *, message_id: str, event: str, event_at: datetime, sent_at: datetime, body: bytes, secret: str | None
) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        message_id: the same for every attempt at a delivery.
        event: its name.
        event_at: when it happened (UTC), the same for every attempt.
        sent_at: when this attempt is made (UTC); receivers refuse what is minutes old.
        body: what is sent.
        secret: the hook's; None signs nothing.
    """
    event_time, timestamp = moment_text(event_at), str(int(sent_at.timestamp()))
    headers = {
        "X-Alauda-Event": event,
        "X-Alauda-Event-Time": event_time,
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
    }
    if secret is not None:
        old = hmac.new(secret.encode(), event_time.encode(), hashlib.sha1).hexdigest()
        headers["X-Alauda-Signature"] = f"sha1={old}"
        signed = b".".join([message_id.encode(), timestamp.encode(), body])
        headers["webhook-signature"] = " ".join(f"v1,{_signature(key, signed)}" for key in keys_of(secret))
    return headers


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
