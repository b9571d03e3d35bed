"""The API server proves who it is, or no token is sent."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from activities.errors import ProviderError
from contracts.errors import ErrorCode
from contracts.events import GenerationRequested
from tests.activities.kube_calls import jobs_at, submission, submitted
from tests.activities.kube_server import kube_server
from workers.clients import Clients

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the keys")


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A certificate of this address that signs itself, and its key."""
    key, signed = folder / f"{address}.key", folder / f"{address}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=kube", "-keyout", str(key)]
    command += ["-out", str(signed), "-addext", f"subjectAltName=IP:{address}"]
    subprocess.run(command, check=True, capture_output=True)
    return signed, key


async def trouble(
    clients: Clients, asked: GenerationRequested, served: tuple[Path, Path], ca_file: Path | None
) -> ErrorCode | None:
    """Why no Job comes to a server that shows this certificate; None when one does."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*served)
    async with (
        kube_server(tls) as kube,
        jobs_at(kube.url, clients, ca_file=ca_file) as service,
    ):
        try:
            await submitted(service, submission(asked))
        except ProviderError as error:
            return None if kube.calls else error.failure.code
        return None


async def test_certificate(clients: Clients, asked: GenerationRequested, tmp_path: Path) -> None:
    """It must be signed by one in `ca_file`, and be for the address that is called."""
    ours, others = certificate(tmp_path, "127.0.0.1"), certificate(tmp_path, "127.0.0.9")
    away = ErrorCode.PROVIDER_UNAVAILABLE
    assert await trouble(clients, asked, ours, ours[0]) is None
    assert await trouble(clients, asked, ours, None) is away
    assert await trouble(clients, asked, ours, others[0]) is away
    assert await trouble(clients, asked, others, others[0]) is away
