"""The operator's settings for hooks and mail, as `scheduler.settings.settings` holds them. Pure."""

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
    """Where deliveries to hooks may go, and how long they are kept."""

    allow: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="Networks, addresses and names that deliveries may go to though they are not public, such as "
        "10.0.0.0/8, 192.168.1.7:9000 or *.example.com.",
    )
    allow_private: bool = Field(
        default=False, description="Deliver to loopback and private networks; link-local stays closed."
    )
    keep_days: int = Field(default=7, ge=1, le=366, description="For how long finished deliveries are kept.")

    @field_validator("allow", mode="before")
    @classmethod
    def _split(cls, allow: object) -> object:
        """A variable may hold them as JSON, or with commas between them."""
        if not isinstance(allow, str):
            return allow
        return json.loads(allow) if allow.startswith("[") else [part.strip() for part in allow.split(",")]

    @field_validator("allow")
    @classmethod
    def _check_allow(cls, allow: list[str]) -> list[str]:
        AddressPolicy(allow)
        return allow


class MailSettings(_Strict):
    """The mail server through which owners are told, and what about."""

    host: str | None = Field(default=None, min_length=1, description="The mail server; no mail without one.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Its port; 587 for starttls, 465 for tls, 25 for none."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="Encryption: asked for at the beginning, from the first byte, or none.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="The authority that signed the server's certificate; the system's if not given.",
    )
    username: str | None = Field(default=None, description="Whom to log in as; nobody if not given.")
    password: SecretStr | None = Field(default=None, description="The password; a file is better.")
    password_file: Path | None = Field(default=None, description="A file that holds the password.")
    sender: str | None = Field(
        default=None, alias="from", description="The sender's address; timeball@ this machine if not given."
    )
    default_to: str | None = Field(
        default=None, description="Who gets mail of users whose address nobody knows."
    )
    addresses: dict[str, str] = Field(default_factory=dict, description="Users' addresses, by user name.")
    events: list[Literal["succeed", "fail", "cancel"]] = Field(
        default=["fail", "cancel"], description="Ends of runs that mail is written about."
    )
    log_lines: int = Field(
        default=50, ge=0, le=1000, description="How many of the log's last lines a mail carries."
    )

    @field_validator("sender", "default_to")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is not None and not is_address(address):
            msg = "is no mail address; write it like timeball@example.com"
            raise ValueError(msg)
        return address

    @field_validator("addresses")
    @classmethod
    def _check_addresses(cls, addresses: dict[str, str]) -> dict[str, str]:
        if wrong := [user for user, address in addresses.items() if not is_address(address)]:
            msg = f"of {', '.join(wrong)} is no mail address; write it like ada@example.com"
            raise ValueError(msg)
        return addresses
