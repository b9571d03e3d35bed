"""The gateway's documentation: whole without the Internet, and absent where it is not wanted."""

import re

import httpx
import pytest

from tests.starter.entry_points import serving


async def test_the_page_needs_no_other_server(http: httpx.AsyncClient) -> None:
    """Scripts and styles of /docs come from the gateway itself, and are there."""
    page = await http.get("/docs")
    assert page.status_code == 200
    needed = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(needed) == 3
    sizes = {}
    for place in needed:
        assert place.startswith("/"), place
        answer = await http.get(place)
        assert answer.status_code == 200
        sizes[place.rpartition(".")[2]] = len(answer.content)
    assert sizes["js"] > 1_000_000
    assert not re.findall(r"https?://[^\"' ]+", page.text)
    assert '"validatorUrl": null' in page.text


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css", "/redoc"]
)
async def test_it_can_be_left_out(address: str, path: str) -> None:
    """With `docs = false` neither page nor document is there; the API is."""
    async with serving(address, docs=False) as url, httpx.AsyncClient(base_url=url) as caller:
        assert (await caller.get(path)).status_code == 404
        assert (await caller.get("/v1/generations/x")).status_code == 401
