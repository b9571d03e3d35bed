"""Encrypted payloads: their format, the keys, and what is said when a key is missing."""

import base64
import os
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes

from peers import temporal
from peers.encryption import (
    FILE_VARIABLE,
    KEYS_VARIABLE,
    DefaultRefusingEncrypted,
    EncryptionError,
    PayloadEncryption,
    keyring,
    new_key,
    with_keys,
)
from peers.settings import SettingsError
from tests.bounded import within_bounds

OLD, NEW = new_key(), new_key()
PROMPT = "a portrait of my daughter Wilhelmina"


def codec(text: str) -> PayloadEncryption:
    """The codec with these keys."""
    keys = keyring(text)
    assert keys
    return PayloadEncryption(keys)


def payload(text: str = PROMPT) -> Payload:
    """As the SDK makes it."""
    return DataConverter.default.payload_converter.to_payloads([text])[0]


def test_the_format_is_that_of_the_samples() -> None:
    """Standard metadata; nonce, ciphertext and tag of the whole payload, bound to the key's id."""
    sealed = codec(f"a:{OLD}").encrypted(payload())
    assert dict(sealed.metadata) == {
        "encoding": b"binary/encrypted",
        "encryption-cipher": b"AES-256-GCM",
        "encryption-key-id": b"a",
    }
    assert PROMPT.encode() not in sealed.SerializeToString()
    clear = AESGCM(base64.b64decode(OLD)).decrypt(
        sealed.data[:12], sealed.data[12:], b"binary/encrypted AES-256-GCM a"
    )
    assert Payload.FromString(clear) == payload()


def test_it_costs_a_fixed_number_of_bytes() -> None:
    """docs/personal-data.md: up to 130 bytes a payload, with an id of seven letters."""
    sealing = codec(f"2026-11:{OLD}")
    for text in ("x", PROMPT, PROMPT * 10_000):
        clear = payload(text)
        assert 120 < sealing.encrypted(clear).ByteSize() - clear.ByteSize() <= 130


def test_no_nonce_comes_twice() -> None:
    """The same payload is never the same ciphertext: GCM breaks when a nonce is used again."""
    sealing = codec(f"a:{OLD}")
    assert len({sealing.encrypted(payload()).data[:12] for _ in range(1_000)}) == 1_000


async def test_old_keys_decrypt_and_the_first_encrypts() -> None:
    """Rotation: what was written with the old key is read, what is written has the new one."""
    written = codec(f"old:{OLD}").encrypted(payload())
    rotated = codec(f"new:{NEW},old:{OLD}")
    assert await rotated.decode([written, payload("clear")]) == [payload(), payload("clear")]
    [sealed] = await rotated.encode([payload()])
    assert sealed.metadata["encryption-key-id"] == b"new"


def test_clear_in_the_first_place_only_reads() -> None:
    """Switched on under load: everyone knows the key before anybody uses it."""
    reading = codec(f"clear,a:{OLD}")
    assert reading.encrypted(payload()) == payload()
    assert reading.decrypted(codec(f"a:{OLD}").encrypted(payload())) == payload()
    converter = with_keys(DataConverter.default, keyring(f"clear,a:{OLD}"))
    assert converter.failure_converter_class is DataConverter.default.failure_converter_class


def test_a_missing_key_is_named() -> None:
    """The error has the id and the variable, and not the payload."""
    sealed = codec(f"2026-05:{OLD}").encrypted(payload())
    with pytest.raises(EncryptionError, match=rf"'?2026-05'?.*{KEYS_VARIABLE}"):
        codec(f"2026-11:{NEW}").decrypted(sealed)


def changed_byte(sealed: Payload) -> None:
    """One bit of the ciphertext."""
    sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])


def other_id(sealed: Payload) -> None:
    """The name of another key whose bytes are the same."""
    sealed.metadata["encryption-key-id"] = b"b"


def cut_off(sealed: Payload) -> None:
    """Shorter than nonce and tag."""
    sealed.data = sealed.data[:20]


def another_cipher(sealed: Payload) -> None:
    """What somebody else's codec wrote."""
    sealed.metadata["encryption-cipher"] = b"rot13"


@pytest.mark.parametrize("change", [changed_byte, other_id, cut_off, another_cipher])
def test_what_was_changed_is_refused(change: object) -> None:
    """Bytes, key id, length or cipher: nothing is decoded that we did not write so."""
    both = codec(f"a:{OLD},b:{OLD}")
    sealed = both.encrypted(payload())
    assert callable(change)
    change(sealed)
    with pytest.raises(EncryptionError):
        both.decrypted(sealed)


CODEC = codec(f"a:{OLD}")
SEALED = CODEC.encrypted(payload())


def sealed(clear: bytes) -> bytes:
    """What a holder of the key can send in the place of a payload."""
    nonce, bound = bytes(12), b"binary/encrypted AES-256-GCM a"
    return nonce + AESGCM(base64.b64decode(OLD)).encrypt(nonce, clear, bound)


@settings(derandomize=True, max_examples=100)
@given(
    st.dictionaries(
        st.sampled_from([*SEALED.metadata, "other"]),
        st.binary(max_size=12) | st.sampled_from([*SEALED.metadata.values(), b"b", b"\xff" * 99]),
        max_size=3,
    ),
    st.binary(max_size=60)
    | st.integers(0, len(SEALED.data)).map(lambda end: SEALED.data[:end])
    | st.binary(max_size=40).map(sealed),
)
@within_bounds
def test_any_payload(changes: dict[str, bytes], data: bytes) -> None:
    """A payload, or an EncryptionError that quotes nothing of it."""
    given = Payload(metadata={**SEALED.metadata, **changes}, data=data)
    try:
        assert isinstance(CODEC.decrypted(given), Payload)
    except EncryptionError as error:
        said = str(error)
        assert (said.isprintable(), len(said) < 1_000) == (True, True)  # if at all


def test_another_key_of_the_same_id_is_refused() -> None:
    """Two deployments that chose the same id."""
    sealed = codec(f"a:{OLD}").encrypted(payload())
    with pytest.raises(EncryptionError, match="the key of that id differs"):
        codec(f"a:{NEW}").decrypted(sealed)


def test_a_hostile_key_id_is_made_plain() -> None:
    """It comes from the server, and ends in logs and terminals."""
    sealed = codec(f"a:{OLD}").encrypted(payload())
    sealed.metadata["encryption-key-id"] = b"\x1b[2J\n" + b"x" * 10_000
    with pytest.raises(EncryptionError) as caught:
        codec(f"a:{OLD}").decrypted(sealed)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


SHORT = base64.b64encode(os.urandom(16)).decode()

WRONG = {
    "no id": (OLD, "entry 1 is not ID:KEY"),
    "an empty id": (f":{OLD}", "entry 1 is not ID:KEY"),
    "an empty key": ("a:", "entry 1 is not ID:KEY"),
    "an id with a space": (f"a b:{OLD}", "entry 1 is not ID:KEY"),
    "the second is wrong": (f"a:{OLD},{NEW}", "entry 2 is not ID:KEY"),
    "an id twice": (f"a:{OLD},a:{NEW}", "two keys have the id a"),
    "128 bits": (f"a:{SHORT}", "the key a is not 32 bytes"),
    "no base64": (f"a:{OLD[:-2]}!=", "the key a is not 32 bytes"),
    "clear alone": ("clear", "names no key"),
    "clear in the second place": (f"a:{OLD},clear", "entry 2"),
    "a key called clear": (f"clear:{OLD}", "entry 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_keys_are_refused_and_not_quoted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear text at the start, which may come into a log: no key is in it."""
    text, said = WRONG[name]
    monkeypatch.setenv(KEYS_VARIABLE, text)
    with pytest.raises(SettingsError, match=said) as caught:
        temporal.data_converter()
    for secret in (OLD, NEW, SHORT, OLD[:-2]):
        assert secret not in str(caught.value)


def test_keys_hide_themselves() -> None:
    """In a log or a traceback there are their ids alone."""
    keys = keyring(f"a:{OLD}")
    assert keys
    assert repr(keys) == "Keyring(first='a', ids=['a'])"


def test_a_file_has_a_key_on_each_line(tmp_path: Path) -> None:
    """With comments; the argument wins over the environment, and empty means none."""
    file = tmp_path / "keys"
    file.write_text(f"# rotated in November\nnew:{NEW}\n\nold:{OLD}  # until May\n")
    file.chmod(0o400)
    given = {FILE_VARIABLE: str(file)}
    found = keyring(None, given)
    assert found
    assert (found.first, list(found.keys)) == ("new", ["new", "old"])
    assert keyring("", given) is None
    assert keyring(None, {KEYS_VARIABLE: ""}) is None
    with pytest.raises(EncryptionError, match="not both"):
        keyring(None, {**given, KEYS_VARIABLE: f"a:{OLD}"})


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    """As ssh does with its keys; a group may read it, for volumes of secrets."""
    file = tmp_path / "keys"
    file.write_text(f"a:{OLD}")
    file.chmod(mode)
    with pytest.raises(EncryptionError, match="chmod 600"):
        keyring(None, {FILE_VARIABLE: str(file)})
    file.chmod(0o440)
    assert keyring(None, {FILE_VARIABLE: str(file)})


@pytest.mark.parametrize("content", [None, "", "# nothing", "\xff"])
def test_a_file_without_keys_is_refused(tmp_path: Path, content: str | None) -> None:
    """A secret that was not mounted must not switch encryption off."""
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content, "latin-1")
        file.chmod(0o600)
    with pytest.raises(EncryptionError, match=FILE_VARIABLE):
        keyring(None, {FILE_VARIABLE: str(file)})


def test_without_the_package_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Odoo without `cryptography` learns what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(EncryptionError, match="install"):
        codec(f"a:{OLD}")


async def test_without_keys_there_is_no_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is slower; and what is encrypted is not called an unknown encoding."""
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    converter = temporal.data_converter()
    assert converter.payload_codec is None
    assert with_keys(DataConverter.default, None) is DataConverter.default
    sealed = codec(f"2026-11:{OLD}").encrypted(payload())
    with pytest.raises(EncryptionError, match="2026-11"):
        await converter.decode([sealed])
    plain = DataConverter(payload_converter_class=DefaultRefusingEncrypted)
    with pytest.raises(EncryptionError, match="2026-11"):
        await plain.decode([sealed])


async def test_with_keys_failures_are_encrypted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image service's error text may quote the prompt."""
    monkeypatch.setenv(KEYS_VARIABLE, f"a:{OLD}")
    converter = temporal.data_converter()
    assert isinstance(converter.payload_codec, PayloadEncryption)
    assert converter.failure_converter_class is DefaultFailureConverterWithEncodedAttributes
