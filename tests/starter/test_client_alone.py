"""The one file, carried into somebody else's process: nothing of ours beside it."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peers import encryption
from starter import client as module
from tests.starter.entry_points import KEY, make_event

# A finder that hides our packages, and what the file must do without, from the subprocess.
PREAMBLE = """
import sys, threading
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, {folder!r})
import client
assert threading.active_count() == 1, "the import started something"
def event():
    from uuid import uuid4
    ids = ("requestId", "correlationId", "userId", "modelId")
    return {{**{{name: str(uuid4()) for name in ids}}, "prompt": "x", "resolution": "64x64",
            "aspectRatio": "1:1", "callbackUrl": "http://odoo/cb"}}
duragen = client.DuragenClient({address!r})
"""
OURS = ("contracts", "workflows", "activities", "workers", "starter", "otel", "deploy")
FOREIGN = ("pydantic", "httpx", "fastapi", "typer", "rich")


def run_alone(folder: Path, address: str, code: str, *hidden: str) -> str:
    """Run the code beside a copy of client.py, in isolation; its output."""
    shutil.copy(Path(module.__file__), folder / "client.py")
    names = {*OURS, *FOREIGN, *hidden}
    preamble = PREAMBLE.format(hidden=names, folder=str(folder), address=address)
    done = subprocess.run(
        [sys.executable, "-I", "-c", preamble + code],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("hidden", [(), ("opentelemetry",)])
def test_it_works_alone(tmp_path: Path, address: str, hidden: tuple[str, ...]) -> None:
    """A copy of the file starts, asks and cancels, with and without OpenTelemetry."""
    code = """
e = event()
print(duragen.start(e).created, duragen.start(e).created)
print(duragen.status(e["requestId"])["state"], duragen.cancel(e["requestId"]))
sys.stdout.flush()
import os; os._exit(0)  # see starter/leaving.py
"""
    assert run_alone(tmp_path, address, code, *hidden).split("\n")[:2] == [
        "True False",
        "accepted True",
    ]


def test_it_works_after_a_fork(tmp_path: Path, address: str) -> None:
    """A client that was used before a fork works in the child, and goes on in the parent."""
    code = """
import os
duragen.start(event())
child = os.fork()
if child == 0:
    os._exit(0 if duragen.start(event()).created else 1)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), duragen.start(event()).created, flush=True)
os._exit(0)
"""
    assert run_alone(tmp_path, address, code) == "0 True\n"


def test_many_threads_share_one_connection(tmp_path: Path, address: str) -> None:
    """Ten threads that call at once get ten generations from one background thread."""
    code = """
import os
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(10) as pool:
    created = [s.created for s in pool.map(duragen.start, [event() for _ in range(10)])]
background = [t for t in threading.enumerate() if t.name == "duragen-client"]
print(sum(created), len(background), flush=True)
os._exit(0)
"""
    assert run_alone(tmp_path, address, code) == "10 1\n"


def test_without_opentelemetry_the_trace_id_travels(tmp_path: Path, address: str) -> None:
    """The start's header carries a traceparent of the correlationId, with no tracing library."""
    code = """
import asyncio, os, uuid
from temporalio.client import Client
from temporalio.converter import PayloadConverter
e = event()
started = duragen.start(e)
async def header():
    handle = (await Client.connect({address!r})).get_workflow_handle(started.workflow_id)
    first = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    return PayloadConverter.default.from_payloads([first.header.fields["_tracer-data"]])[0]
print(asyncio.run(header())["traceparent"].split("-")[1] == uuid.UUID(e["correlationId"]).hex)
sys.stdout.flush()
os._exit(0)
""".replace("{address!r}", repr(address))
    assert run_alone(tmp_path, address, code, "opentelemetry") == "True\n"


ENCRYPTED = """
import asyncio, os
from addon.client import DuragenClient
from temporalio.client import Client
started = DuragenClient({address!r}).start(event())
async def encoding():
    handle = (await Client.connect({address!r})).get_workflow_handle(started.workflow_id)
    first = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    return first.input.payloads[0].metadata["encoding"]
print(asyncio.run(encoding()).decode(), flush=True)
os._exit(0)
"""


def test_it_encrypts_with_the_file_beside_it(tmp_path: Path, address: str) -> None:
    """As inside Odoo: both files in a package of their own, keys in the environment."""
    addon = tmp_path / "addon"
    addon.mkdir()
    (addon / "__init__.py").touch()
    shutil.copy(Path(module.__file__), addon / "client.py")
    shutil.copy(Path(encryption.__file__), addon / "encryption.py")
    set_key = f"import os; os.environ['DURAGEN_ENCRYPTION_KEYS'] = 'a:{encryption.new_key()}'\n"
    code = set_key + ENCRYPTED.replace("{address!r}", repr(address))
    assert run_alone(tmp_path, address, code, "peers") == "binary/encrypted\n"


def test_alone_it_does_not_encrypt_in_silence(tmp_path: Path, address: str) -> None:
    """Where there are keys and not the file, nothing is sent in clear: it says what is missing."""
    code = f"""
import os
os.environ["DURAGEN_ENCRYPTION_KEYS"] = "a:{encryption.new_key()}"
try:
    duragen.start(event())
except client.SetupError as error:
    print(error, flush=True)
os._exit(0)
"""
    assert (
        run_alone(tmp_path, address, code)
        == "to encrypt, encryption.py must lie beside client.py\n"
    )


async def test_without_temporalio_the_gateway_client_works(tmp_path: Path, gateway: str) -> None:
    """The two files start over HTTP where no package was added, and say what Temporal needs."""
    addon = tmp_path / "addon"
    addon.mkdir()
    (addon / "__init__.py").touch()
    for name in ("client.py", "gateway_client.py"):
        shutil.copy(Path(module.__file__).with_name(name), addon / name)
    code = f"""
from addon.gateway_client import GatewayClient
caller = GatewayClient({gateway!r}, {KEY!r})
caller.ping()
print(caller.start({{**event(), "callbackUrl": {make_event()["callbackUrl"]!r}}}).created)
try:
    duragen.start(event())
except client.SetupError as error:
    print(error)
"""
    hidden = ("temporalio", "opentelemetry")
    # In a thread: the gateway is served by this one.
    printed = await asyncio.to_thread(run_alone, tmp_path, "nowhere", code, *hidden)
    assert printed.splitlines() == [
        "True",
        "install the package temporalio, or start through the gateway",
    ]
