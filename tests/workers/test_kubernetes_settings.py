"""A cluster among the providers: what it needs, and what is said when that is wrong."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from activities.providers.kind import ProviderSettings
from activities.providers.kubernetes.kind import KubernetesSettings
from activities.providers.registry import Provider


def cluster(**fields: Any) -> ProviderSettings:
    """Settings as from a file."""
    given = {"kind": "kubernetes", "base_url": "https://10.0.0.1:6443", **fields}
    return TypeAdapter[ProviderSettings](Provider).validate_python(given)


def test_token_or_its_file(tmp_path: Path) -> None:
    """A token, or a file that has one."""
    (tmp_path / "token").write_text("t")
    assert cluster(api_key="secret").api_key.get_secret_value() == "secret"
    by_file = cluster(token_file=tmp_path / "token")
    assert isinstance(by_file, KubernetesSettings)
    assert by_file.namespace == "default"


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no token": ({}, "needs api_key or token_file"),
    "both": ({"api_key": "secret", "token_file": "/etc/hostname"}, "and not both"),
    "no key of another kind": ({"kind": "flux"}, "api_key"),
    "no such token_file": ({"token_file": "/nowhere/token"}, "token_file"),
    "no such ca_file": ({"api_key": "secret", "ca_file": "/nowhere/ca.crt"}, "ca_file"),
    "no certificates": ({"api_key": "secret", "ca_file": "/etc/hostname"}, "no certificates"),
    "a namespace": ({"api_key": "secret", "namespace": "My Models"}, "namespace"),
    "a short life": ({"api_key": "secret", "ttl_seconds": 0}, "ttl_seconds"),
}


@pytest.mark.parametrize(("fields", "named"), FAULTS.values(), ids=FAULTS)
def test_faults(fields: dict[str, Any], named: str) -> None:
    """Each is named, and no secret is shown."""
    with pytest.raises(ValidationError) as caught:
        cluster(**fields)
    text = "; ".join(f"{fault['loc']} {fault['msg']}" for fault in caught.value.errors())
    assert named in text
    assert "secret" not in text
