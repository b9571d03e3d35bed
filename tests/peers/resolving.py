"""Names and addresses as a test says: what resolves to what, and what counts as public."""

import socket
from ipaddress import IPv4Network
from typing import Any

import pytest

from peers import addresses

HERE = "127.0.0.2"
"""Stands in for a public address: the machine's own, so that something answers there."""


def resolving(*answers: str) -> tuple[Any, list[str]]:
    """A resolver with an answer for each question, the last one from then on; and who asked."""
    asked: list[str] = []

    def getaddrinfo(host: str | bytes, port: int, *_: object, **__: object) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        asked.append(name)
        found = answers[min(len(asked), len(answers)) - 1]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found.split(",")
        ]

    return getaddrinfo, asked


def here_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine's addresses all but one are as they are."""
    others = IPv4Network("127.0.0.0/8").address_exclude(IPv4Network(f"{HERE}/32"))
    monkeypatch.setattr(addresses, "_NOT_PUBLIC_V4", tuple(others))
