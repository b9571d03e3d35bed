"""Ports: remembered, and given to one stack at a time."""

import json
import socket
from pathlib import Path

import pytest

from deploy.local.stack.parts import ALL_PARTS
from deploy.local.stack.ports import PortRegistry, Ports


@pytest.fixture
def registries(tmp_path: Path) -> tuple[PortRegistry, PortRegistry, int]:
    """Two homes that remember the same port, which the first has picked again."""
    port = PortRegistry(tmp_path / "search.json").pick("worker")
    for name in ("first.json", "second.json"):
        (tmp_path / name).write_text(json.dumps({"worker": port}))
    first, second = (PortRegistry(tmp_path / name) for name in ("first.json", "second.json"))
    assert first.pick("worker") == port
    return first, second, port


def test_a_picked_port_is_given_to_no_other(
    registries: tuple[PortRegistry, PortRegistry, int],
) -> None:
    """Although nothing listens there yet: a worker starts seconds after its port was chosen."""
    _, second, port = registries
    assert second.pick("worker") != port


def test_a_released_port_is_given_again(
    registries: tuple[PortRegistry, PortRegistry, int],
) -> None:
    """When the stack has stopped."""
    first, second, port = registries
    first.release()
    assert second.pick("worker") == port


def test_a_port_where_somebody_listens_is_passed_over(
    registries: tuple[PortRegistry, PortRegistry, int],
) -> None:
    """Whoever that is."""
    first, second, port = registries
    first.release()
    with socket.create_server(("127.0.0.1", port)):
        assert second.pick("worker") != port


def test_a_receiver_that_listens_already_is_no_obstacle(tmp_path: Path) -> None:
    """It is a developer's own: the stack is started again beside it, and delivers to it."""
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        port = receiver.getsockname()[1]
        registry = PortRegistry(tmp_path / "ports.json")
        assert registry.settle(Ports(receiver=port), ALL_PARTS).receiver == port
        registry.release()
