"""A broker that speaks TLS alone, and lets those in who show a certificate."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from peers.rabbitmq import BrokerError, RabbitTable, connected
from tests.activities.test_kubernetes_tls import certificate
from tests.rabbitmq.server import Certificates, RabbitServer


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Settings that are complete, for a broker of the test's own."""
    folder = tmp_path_factory.mktemp("tls")
    signed, key = certificate(folder, "127.0.0.1")
    authority = certificate(folder, "127.0.0.9")
    server = RabbitServer(folder / "broker", Certificates(signed, key, authority[0]))
    try:
        server.start()
        url = server.url.replace("amqp://", "amqps://").replace(
            f":{server.port}/", f":{server.tls_port}/"
        )
        yield {
            "url": url,
            "ca_file": signed,
            "client_certificate": _ours(folder, *authority),
            "publish_outcomes": False,
        }
    finally:
        server.stop()


def _ours(folder: Path, authority: Path, authority_key: Path) -> Path:
    """Our certificate and its key in one file. Erlang believes none that signed itself."""
    key, signed, asked = folder / "ours.key", folder / "ours.crt", folder / "ours.csr"
    make = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=duragen"]
    sign = ["openssl", "x509", "-req", "-days", "1", "-CAcreateserial", "-in", str(asked)]
    sign += ["-CA", str(authority), "-CAkey", str(authority_key), "-out", str(signed)]
    for command in ([*make, "-keyout", str(key), "-out", str(asked)], sign):
        subprocess.run(command, check=True, capture_output=True)
    both = folder / "ours.pem"
    both.write_bytes(signed.read_bytes() + key.read_bytes())
    return both


async def test_we_show_our_certificate_and_know_the_brokers(tables: dict[str, Any]) -> None:
    """A channel is open."""
    async with connected(RabbitTable.model_validate(tables), "test") as connection:
        assert (await connection.channel()).is_initialized


@pytest.mark.parametrize(
    ("missing", "words"), [("ca_file", "certificate"), ("client_certificate", "certificate")]
)
async def test_what_is_missing_is_said(tables: dict[str, Any], missing: str, words: str) -> None:
    """A broker signed by nobody whom we know; a broker that does not know us."""
    table = RabbitTable.model_validate({**tables, missing: None})
    with pytest.raises(BrokerError) as raised:
        async with connected(table, "test") as connection:
            await connection.channel()
    assert words in str(raised.value).lower()


def test_a_certificate_without_its_key_is_no_setting(tables: dict[str, Any]) -> None:
    """Found when the settings are read, not when the broker is called."""
    with pytest.raises(ValidationError, match="client_certificate"):
        RabbitTable.model_validate({**tables, "client_certificate": tables["ca_file"]})
