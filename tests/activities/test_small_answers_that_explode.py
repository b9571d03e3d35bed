"""However an answer is made, a worker that reads it grows by less than 100 MB."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from tests.activities.hostile_answers import ANSWERS, CALLS
from tests.activities.http_peer import Peer, answer

MOST_MIB = 95  # 100 MB

ERRORS = {"ProviderError", "OdooError", "OdooRpcError"}

VALUES = {"Probed", "str", "tuple"}
"""What a probe found; an Odoo's word when it took an outcome; the size of what is an image."""


@pytest.mark.parametrize("name", ANSWERS)
async def test_memory(peer: Peer, name: str) -> None:
    """Each reader of answers ends with a typed error, or says what it found, and stays small."""
    peer.says(answer(503), ANSWERS[name]())
    program = [sys.executable, "-m", "tests.activities.hostile_answers", peer.url, *CALLS]
    root = Path(__file__).parents[2]
    child = await asyncio.create_subprocess_exec(
        *program, cwd=root, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, trouble = await child.communicate()
    assert child.returncode == 0, trouble.decode()[-2_000:]
    found = json.loads(said)
    assert found.keys() == CALLS.keys()
    unexpected = {call: how for call, (how, _) in found.items() if how not in {*ERRORS, *VALUES}}
    assert not unexpected
    assert {call: grown for call, (_, grown) in found.items() if grown > MOST_MIB} == {}
