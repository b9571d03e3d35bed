"""Payloads that only holders of a key can read: AES-256-GCM, before they leave for Temporal.

Self-contained, for the addon and the wheel carry this very file beside `client.py`: it imports the
standard library, `temporalio` and the `protobuf` that this brings, and `cryptography` once there is
a key. Python 3.10.

    DURAGEN_ENCRYPTION_KEYS        ID:KEY, several with commas between; KEY is 32 bytes in base64
    DURAGEN_ENCRYPTION_KEYS_FILE   or a file with one on each line

The first key encrypts, all of them decrypt, and what is in clear is read as it is. The word `clear`
in the first place encrypts nothing: every process learns a key before one of them uses it.

What is encrypted is a whole payload, as in Temporal's samples: metadata `encoding`,
`encryption-cipher` and `encryption-key-id`; data a nonce of 96 bits, the ciphertext, the tag.
Headers stay in clear: they hold trace ids.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)

KEYS_VARIABLE = "DURAGEN_ENCRYPTION_KEYS"
FILE_VARIABLE = "DURAGEN_ENCRYPTION_KEYS_FILE"
CLEAR = "clear"

ENCODING, CIPHER = b"binary/encrypted", b"AES-256-GCM"
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class EncryptionError(Exception):
    """A key is missing, wrong or written wrongly; the text says which, and what to do.

    No `ApplicationError` on purpose: in a worker it fails the workflow task, which is tried again,
    and not the workflow.
    """


class Keyring(NamedTuple):
    """Keys by their ids; `first` is the one that encrypts, None when nothing is encrypted."""

    first: str | None
    keys: Mapping[str, bytes]

    def __repr__(self) -> str:
        """The ids alone: this may come into a log."""
        return f"Keyring(first={self.first!r}, ids={list(self.keys)})"


def keyring(text: str | None = None, environment: Mapping[str, str] = os.environ) -> Keyring | None:
    """The keys of `text`, else those of the environment; None when there are none.

    An empty `text` means none, whatever the environment says. Raises EncryptionError.
    """
    if text is not None:
        return _parsed(text, "encryption_keys")
    listed, path = environment.get(KEYS_VARIABLE), environment.get(FILE_VARIABLE)
    if listed and path:
        raise EncryptionError(f"set {KEYS_VARIABLE} or {FILE_VARIABLE}, not both")
    if path:
        return _parsed(_private_text(path), f"{FILE_VARIABLE} ({path})")
    return _parsed(listed or "", KEYS_VARIABLE)


def _private_text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123  # as little as can be
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                raise EncryptionError(
                    f"{FILE_VARIABLE}: everyone may read {path}, or others write to it: chmod 600"
                    " (Kubernetes: defaultMode: 0440)"
                )
            lines = [line.partition("#")[0].strip() for line in file]
    except (OSError, ValueError) as error:
        raise EncryptionError(f"{FILE_VARIABLE}: cannot read {path}: {error}") from None
    found = ",".join(line for line in lines if line)
    if not found:
        raise EncryptionError(f"{FILE_VARIABLE}: no key in {path}")
    return found


def _parsed(text: str, where: str) -> Keyring | None:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        return None
    keys: dict[str, bytes] = {}
    for number, part in enumerate(parts, 1):
        key_id, _, key = part.partition(":")
        if number == 1 and part == CLEAR:
            continue
        # The text itself is quoted nowhere: it may be a key.
        if not _KEY_ID.fullmatch(key_id) or key_id == CLEAR or not key:
            raise EncryptionError(
                f"{where}: entry {number} is not ID:KEY, where ID is 1 to 64 letters, digits,"
                f" '.', '_' and '-'; '{CLEAR}' may stand first only, without a key"
            )
        if key_id in keys:
            raise EncryptionError(f"{where}: two keys have the id {key_id}")
        keys[key_id] = _decoded(key, key_id, where)
    if not keys:
        raise EncryptionError(f"{where}: '{CLEAR}' alone names no key")
    return Keyring(None if parts[0] == CLEAR else parts[0].partition(":")[0], keys)


def _decoded(key: str, key_id: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(key, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise EncryptionError(
            f"{where}: the key {key_id} is not {KEY_BYTES} bytes in base64:"
            " `duragen codec --new-encryption-key` makes one, and so does `openssl rand -base64 32`"
        )
    return raw


def new_key() -> str:
    """A random key, as it is written behind its id."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


class PayloadEncryption(PayloadCodec):
    """Encrypts with the first key, decrypts with any, and leaves alone what is in clear."""

    def __init__(self, keys: Keyring) -> None:
        """Raises EncryptionError when the package `cryptography` is missing."""
        try:
            from cryptography.exceptions import (  # noqa: PLC0415  # only where there are keys
                InvalidTag,
            )
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        except ImportError:
            raise EncryptionError(
                "payload encryption needs the package cryptography: install it"
            ) from None
        self._first = keys.first
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.keys.items()}
        self._wrong: type[Exception] = InvalidTag

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload encrypted, with a nonce of its own."""
        return [self.encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload in clear. Raises EncryptionError for a key that is missing or differs."""
        return [self.decrypted(payload) for payload in payloads]

    def encrypted(self, payload: Payload) -> Payload:
        """The payload encrypted; itself when nothing is to be."""
        if self._first is None:
            return payload
        nonce, key_id = os.urandom(NONCE_BYTES), self._first.encode()
        cipher = self._ciphers[self._first]
        sealed = cipher.encrypt(nonce, payload.SerializeToString(), _bound(key_id))
        metadata = {
            "encoding": ENCODING,
            "encryption-cipher": CIPHER,
            "encryption-key-id": key_id,
        }
        return Payload(metadata=metadata, data=nonce + sealed)

    def decrypted(self, payload: Payload) -> Payload:
        """The payload in clear; itself when it is not encrypted."""
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = key_id_of(payload)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise _unknown(key_id)
        if payload.metadata.get("encryption-cipher", CIPHER) != CIPHER:
            raise EncryptionError("a payload is encrypted by another cipher than AES-256-GCM")
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        if len(sealed) < TAG_BYTES:
            raise EncryptionError("an encrypted payload was cut off")
        try:
            clear = cipher.decrypt(nonce, sealed, _bound(payload.metadata["encryption-key-id"]))
        except self._wrong:
            raise EncryptionError(
                f"a payload cannot be decrypted with the key {key_id!r}: the key of that id differs"
                " from the one that encrypted it, or the payload was changed"
            ) from None
        try:
            return Payload.FromString(clear)
        except DecodeError:
            raise EncryptionError(
                f"what was encrypted with the key {key_id!r} is no payload: not we wrote it"
            ) from None


def _bound(key_id: bytes) -> bytes:
    """What is authenticated beside the payload: how it says that it is encrypted."""
    return b" ".join((ENCODING, CIPHER, key_id))


def key_id_of(payload: Payload) -> str:
    """The id of the key that an encrypted payload names; fit for a message, whoever wrote it."""
    text = payload.metadata.get("encryption-key-id", b"").decode(errors="replace")
    return text if _KEY_ID.fullmatch(text) else ascii(text[:64])


def _unknown(key_id: str) -> EncryptionError:
    return EncryptionError(
        f"a payload is encrypted with the key {key_id!r}, which this process does not have: add it"
        f" to {KEYS_VARIABLE}, in any place but the first"
    )


class _Refusing(EncodingPayloadConverter):
    """Says what is missing where there is no key at all, in the place of "unknown encoding"."""

    @property
    def encoding(self) -> str:
        return ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:  # noqa: ARG002  # the base class's
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:  # noqa: ARG002
        raise _unknown(key_id_of(payload))


_REFUSING = _Refusing()


class RefusingEncrypted(CompositePayloadConverter):
    """Put before a payload converter: what is encrypted has a clear error. Costs a look-up."""

    def __init__(self) -> None:
        super().__init__()
        self.converters = {**self.converters, ENCODING: _REFUSING}  # one for each workflow task


class DefaultRefusingEncrypted(RefusingEncrypted, DefaultPayloadConverter):
    """The SDK's own converter with that."""


def with_keys(converter: DataConverter, keys: Keyring | None) -> DataConverter:
    """The converter with encryption; itself, without a codec, when there are no keys.

    Where a key encrypts, so are the texts and stack traces of failures, which may quote a prompt.
    """
    if keys is None:
        return converter
    codec = PayloadEncryption(keys)
    if keys.first is None:
        return dataclasses.replace(converter, payload_codec=codec)
    return dataclasses.replace(
        converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
