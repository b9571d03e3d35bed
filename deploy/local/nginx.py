"""A real nginx with `deploy/nginx/duragen.conf`: on loopback, in one folder, ended by its process.

For tests and benchmarks; `tests/system/install` unpacks Debian's where there is none.
"""

import ipaddress
import re
import shutil
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local.sandbox.serving import HOST
from deploy.local.stack.layout import ProgramMissingError, environment_of_part
from deploy.local.stack.ports import PortRegistry
from deploy.local.stack.private import private_folder, write_private
from deploy.local.stack.program import Program
from deploy.local.stack.supervisor import Part, Supervisor

_REPOSITORY = Path(__file__).parents[2]
CONF = _REPOSITORY / "deploy/nginx/duragen.conf"
_UNPACKED = _REPOSITORY / "build/nginx/usr/sbin/nginx"

# One process: nothing is left when it is killed, and it may read its folder whoever we are.
_MAIN = """\
daemon off;
master_process off;
worker_rlimit_nofile 8192;
pid {home}/nginx.pid;
lock_file {home}/nginx.lock;
error_log stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/duragen.conf;
}}
"""


class Nginx(Program):
    """From `start()` (or `with`) until `stop()`, at `https://127.0.0.1:PORT`.

    `gateway` and `odoo` are `HOST:PORT`; port 0 is a free one. `changes` are texts of the file, and
    what stands there in their place: other limits, other times. `certificate` is who a client must
    trust.
    """

    def __init__(
        self,
        home: Path,
        *,
        gateway: str,
        odoo: str,
        port: int = 0,
        changes: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        private_folder(home)
        self.ports = PortRegistry(home / "ports.json")
        self.port = port or self.ports.pick("nginx")
        self.url = f"https://{HOST}:{self.port}"
        self.certificate, key = home / "fullchain.pem", home / "privkey.pem"
        _certify(self.certificate, key)
        given = {
            "<127.0.0.1:8090>": gateway,
            "<127.0.0.1:8069>": odoo,
            "<443>": f"{HOST}:{self.port}",
            "<api.example.com>": HOST,
            "<fullchain.pem>": str(self.certificate),
            "<privkey.pem>": str(key),
        }
        write_private(home / "duragen.conf", filled({**given, **(changes or {})}))
        write_private(home / "nginx.conf", _MAIN.format(home=home))
        command = (program(), "-e", "stderr", "-p", str(home), "-c", str(home / "nginx.conf"))
        part = Part("nginx", command, self._probe, environment_of_part(), killable=True)
        self.supervisor = Supervisor(part, home, say)

    def _probe(self) -> None:
        socket.create_connection((HOST, self.port), timeout=5).close()


def program() -> str:
    """The path of nginx. Raises ProgramMissingError."""
    found = str(_UNPACKED) if _UNPACKED.exists() else shutil.which("nginx")
    if found is None:
        raise ProgramMissingError(
            "nginx is missing: tests/system/install unpacks Debian's below build/, without root;"
            " or install your system's package"
        )
    return found


def filled(changes: Mapping[str, str]) -> str:
    """The file with `changes` made. Raises ValueError for one that changes nothing, or is missing.

    A limit that a test lowers must be there, or the test would prove nothing.
    """
    text = CONF.read_text()
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"{CONF} has no {old!r}")
        text = text.replace(old, new)
    if left := re.findall(r"^[^#\n]*\s(<[^>]+>)", text, re.MULTILINE):
        raise ValueError(f"nobody has filled in {', '.join(left)}")
    return text


def _certify(certificate: Path, key: Path) -> None:
    """A certificate of the address that signs itself, for a day."""
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nginx of a test")])
    address = x509.IPAddress(ipaddress.ip_address(HOST))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(key, text.decode())
