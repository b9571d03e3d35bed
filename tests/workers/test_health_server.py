"""The worker's health under callers that open connections and hold them."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.ports import free_port
from tests.starter.attacked import HALF, Attacked, limited, wait_closed, wait_until_live
from workers.health_server import CONNECTIONS


def test_the_platform_gets_its_answer(tmp_path: Path) -> None:
    """With more connections held than the worker may open files, /health is answered."""
    port = free_port()
    settings = tmp_path / "duragen.toml"
    settings.write_text(
        f'[storage]\nbucket = "b"\n[worker]\nhealth_port = {port}\nspool_dir = "{tmp_path}/spool"\n'
    )
    env = {
        "PATH": os.environ["PATH"],
        "DURAGEN_CONFIG": str(settings),
        "TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",  # health is there before Temporal is
    }
    with ExitStack() as held, limited([sys.executable, "-m", "workers"], env, 128) as process:
        worker = Attacked(process, port, port)
        wait_until_live(worker)
        silent = [held.enter_context(worker.connect()) for _ in range(100)]
        for connection in silent[50:]:
            connection.sendall(HALF)
        wait_closed(silent, 100 - CONNECTIONS)
        assert worker.lives()
        wait_closed(silent, 100 - CONNECTIONS + 1)
        silent += [held.enter_context(worker.connect()) for _ in range(100)]
        assert worker.lives()
        assert process.poll() is None
