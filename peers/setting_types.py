"""Values that several settings have: origins, secrets, names, files."""

import base64
import re
import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath, SecretStr

from contracts.callbacks import plain_path
from contracts.events import HttpUrl, origin_of
from contracts.names import OWNER_PATTERN

# Standard Webhooks, "Signature scheme": secrets of 24 to 64 bytes.
MIN_SIGNING_BYTES = 24

_SENDABLE = re.compile(r"[!-~]+")


def _origin(text: str) -> str:
    if origin_of(text) != text.rstrip("/").lower():
        raise ValueError("must be scheme://host[:port] without a path")
    return origin_of(text)


Origin = Annotated[HttpUrl, AfterValidator(_origin)]

UrlPath = Annotated[str, AfterValidator(plain_path)]

CallbackPaths = Annotated[tuple[UrlPath, ...], Field(min_length=1)]
"""The path prefixes at an origin that outcomes may go to; `/` is every path."""


def _sendable(key: SecretStr) -> SecretStr:
    # An HTTP client refuses anything else, and shows the whole key while it does so.
    if not _SENDABLE.fullmatch(key.get_secret_value()):
        raise ValueError("must be ASCII without spaces or line breaks, and not empty")
    return key


ApiKey = Annotated[SecretStr, AfterValidator(_sendable)]
"""A secret that travels in an HTTP header."""


def _signing(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().removeprefix("whsec_")
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if len(raw) < MIN_SIGNING_BYTES:
        raise ValueError(f"must be whsec_ and at least {MIN_SIGNING_BYTES} bytes in base64")
    return secret


def _certificates(file: Path) -> Path:
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:  # an SSLError is one
        raise ValueError(f"holds no certificates in PEM ({error.strerror or error})") from None
    return file


CaFile = Annotated[FilePath, AfterValidator(_certificates)]
"""Certificates in PEM, to trust in the place of the system's."""


def _own_certificate(file: Path) -> Path:
    try:
        # With a password, so that a locked key is an error and no question at the terminal.
        ssl.create_default_context().load_cert_chain(file, password="")
    except OSError as error:
        why = error.strerror or error
        raise ValueError(f"holds no certificate with its unlocked key in PEM ({why})") from None
    return file


OwnCertificate = Annotated[FilePath, AfterValidator(_own_certificate)]
"""A certificate, those that signed it, and its private key, in one file in PEM."""

SigningSecret = Annotated[SecretStr, AfterValidator(_signing)]
"""A Standard Webhooks secret."""

_HOST_RULE = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::(?P<port>[0-9]{1,5}))?"
)


def _host_rule(text: str) -> str:
    rule = text.lower()
    found = _HOST_RULE.fullmatch(rule)
    if not found or not 0 < int(found["port"] or 1) < 65_536:
        raise ValueError("must be host, host:port or *.domain, without a scheme and a path")
    return rule


HostRule = Annotated[str, AfterValidator(_host_rule)]
"""A host that links may lead to: `host` at its scheme's own port, `host:port`, or `*.domain`, which
is every host below it. Names beyond ASCII as they are in the DNS (`xn--…`)."""


def host_and_port(rule: str) -> tuple[str, int | None]:
    """The parts of a HostRule; None is the scheme's own port."""
    found = _HOST_RULE.fullmatch(rule)
    if not found:
        raise ValueError(f"{rule!r} is no rule for hosts")
    return found["host"].strip("[]"), int(found["port"]) if found["port"] else None


def _digest(text: str) -> str:
    if len(text) != 64 or set(text.lower()) - set("0123456789abcdef"):
        raise ValueError("must be a SHA-256 in hexadecimal, 64 characters")
    return text.lower()


Sha256 = Annotated[str, AfterValidator(_digest)]
"""Of a key that is not kept itself."""


def _owner(text: str) -> str:
    if text and not re.fullmatch(OWNER_PATTERN, text):
        raise ValueError(
            "must be up to 40 of a to z, 0 to 9, - and _, and not begin with check-; or empty"
        )
    return text


OwnerName = Annotated[str, AfterValidator(_owner)]
"""Whose generations are: the owner of a key of the gateway, "" for those of none."""

ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""Part of a queue's name and of a variable's, so without dots and capitals."""


class Group(BaseModel):
    """A table of the settings."""

    # `extra="forbid"`: a misspelt setting stops the worker instead of being silently ignored.
    model_config = ConfigDict(frozen=True, extra="forbid")
