"""The operator's settings for webhooks and emails, part of `scheduler.settings.settings`. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from scheduler.notify.addresses import AddressPolicy
from scheduler.notify.recipients import is_address


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HooksSettings(_Strict):
    """Which addresses webhook deliveries may go to, and how long deliveries are kept."""

    allow: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Networks, addresses and names that deliveries may go to although they are not public, such as "
        "10.0.0.0/8, 192.168.1.7:9000 or *.example.com.",
    )
    allow_private: bool = Field(
        default=False,
        description="Whether deliveries may go to loopback and private networks; link-local addresses stay "
        "forbidden.",
    )
    keep_days: int = Field(
        default=7, ge=1, le=366, description="How long finished deliveries are kept, in days."
    )

    @field_validator("allow", mode="before")
    @classmethod
    def _split(cls, allow: object) -> object:
        """Environment variables may contain JSON, or entries separated by commas."""
        if not isinstance(allow, str):
            return allow
        return json.loads(allow) if allow.startswith("[") else [part.strip() for part in allow.split(",")]

    @field_validator("allow")
    @classmethod
    def _check_allow(cls, allow: list[str]) -> list[str]:
        AddressPolicy(allow)
        return allow


class MailSettings(_Strict):
    """The mail server that sends notifications to job owners, and the events they are notified of."""

    host: str | None = Field(
        default=None, min_length=1, description="The mail server. Default: none, no emails are sent."
    )
    port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="The mail server's port. Default: 587 for starttls, 465 for tls, 25 for none.",
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="Encryption of the connection: starttls, tls (from the first byte) or none.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="The authority that signed the mail server's certificate. Default: the system's authorities.",
    )
    username: str | None = Field(
        default=None, description="User name for the mail server. Default: no login."
    )
    password: SecretStr | None = Field(
        default=None, description="Password for the mail server; password_file is safer."
    )
    password_file: Path | None = Field(default=None, description="A file that contains the password.")
    sender: str | None = Field(
        default=None, alias="from", description="The sender's address. Default: timeball@ this machine."
    )
    default_to: str | None = Field(
        default=None, description="Recipient of emails for users whose address is not known."
    )
    addresses: dict[str, str] = Field(default_factory=dict, description="Email addresses by user name.")
    events: list[Literal["succeed", "fail", "cancel"]] = Field(
        default=["fail", "cancel"], description="Events that job owners are notified of by email."
    )
    log_lines: int = Field(
        default=50,
        ge=0,
        le=1000,
        description="Number of lines from the end of the log that an email includes.",
    )

    @field_validator("sender", "default_to")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is not None and not is_address(address):
            msg = "is not a valid email address; write an address such as timeball@example.com"
            raise ValueError(msg)
        return address

    @field_validator("addresses")
    @classmethod
    def _check_addresses(cls, addresses: dict[str, str]) -> dict[str, str]:
        if invalid := [user for user, address in addresses.items() if not is_address(address)]:
            msg = (
                f"contains an invalid email address for {', '.join(invalid)}; write an address such as "
                "ada@example.com"
            )
            raise ValueError(msg)
        return addresses
