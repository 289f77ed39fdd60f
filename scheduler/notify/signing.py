"""Signs deliveries: with the headers of the API that Timeball is compatible with, and those of Standard Webhooks.

The former sign only the event's time; the latter (https://www.standardwebhooks.com, symmetric signatures `v1`)
sign the id, the time of sending and the body. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Final

from scheduler.domain.hook import moment_text

#: Prefix of a secret that is a base64-encoded key; any other text is the key itself.
PREFIX: Final = "whsec_"


def decode(text: str) -> bytes | None:
    """The decoded bytes of base64 with or without padding; None if the text is not base64 or is empty."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def keys_of(secret: str) -> list[bytes]:
    """The keys that a secret stands for.

    A text without the prefix is the key itself. The libraries of Standard Webhooks decode every text as base64, so if
    the text is valid base64, a second signature is created with the decoded key.
    """
    if secret.startswith(PREFIX):
        key = decode(secret.removeprefix(PREFIX))
        return [] if key is None else [key]
    decoded = decode(secret)
    return [secret.encode()] if decoded is None else [secret.encode(), decoded]


def headers_of(
    *, message_id: str, event: str, event_at: datetime, sent_at: datetime, body: bytes, secret: str | None
) -> dict[str, str]:
    """The headers of one attempt.

    Args:
        message_id: the message's id, the same for every attempt at a delivery.
        event: the event's name.
        event_at: when the event happened (UTC), the same for every attempt.
        sent_at: when this attempt is sent (UTC); receivers reject requests that are minutes old.
        body: the request body.
        secret: the webhook's secret; None if deliveries are not signed.
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
