"""How the addon addresses the store; no call is made."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deploy.addon import module

s3 = module("s3")


def store(style: str, endpoint_url: str | None = "http://store.example:9000") -> Any:
    """A store with credentials."""
    keys = {"access_key_id": "a", "secret_access_key": "b"}
    given = {"bucket": "duragen", "endpoint_url": endpoint_url, "region": "eu-west-1"}
    return s3.Store(**given, **keys, addressing_style=style)


@pytest.mark.parametrize(
    ("style", "endpoint_url", "host", "path"),
    [
        ("", "http://store.example:9000", "store.example:9000", "/duragen/x.png"),
        ("path", "http://store.example:9000", "store.example:9000", "/duragen/x.png"),
        ("virtual", "http://store.example:9000", "duragen.store.example:9000", "/x.png"),
        ("", None, "duragen.s3.eu-west-1.amazonaws.com", "/x.png"),
        ("path", None, "s3.eu-west-1.amazonaws.com", "/duragen/x.png"),
    ],
)
def test_the_bucket_stands_where_the_setting_says(
    style: str, endpoint_url: str | None, host: str, path: str
) -> None:
    """In the path or in the host's name; without a setting as the store is likely to want it."""
    link = urlsplit(store(style, endpoint_url).link("x.png"))
    assert (link.netloc, link.path) == (host, path)


@pytest.mark.parametrize("style", ["", "path", "virtual"])
@pytest.mark.parametrize("endpoint_url", ["http://store.example:9000", None])
def test_the_links_of_a_store_lead_to_its_origins(style: str, endpoint_url: str | None) -> None:
    """What the addon takes for the store's addresses is what boto3 makes links to."""
    link = urlsplit(store(style, endpoint_url).link("x.png"))
    known = s3.origins("duragen", endpoint_url, "eu-west-1", style)
    assert f"{link.scheme}://{link.netloc}" in known


def test_a_store_that_is_not_set_has_no_origin() -> None:
    """A region alone, which has a default, says nothing."""
    assert s3.origins("", "", "us-east-1") == set()


def test_a_style_that_does_not_exist_is_named() -> None:
    """Somebody wrote the system parameter by hand."""
    with pytest.raises(s3.S3Error, match=r"S3 settings are wrong.*addressing"):
        store("hosts")
