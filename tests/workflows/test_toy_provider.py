"""A kind of image service that the registry alone knows carries a generation."""

import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from temporalio.client import Client

from activities.providers.registry import REGISTRY, kind_of, probes
from contracts.provider_health import Probed
from deploy.local.sandbox.images.painter import Picture, paint
from deploy.local.stack.local_stack import LocalStack
from peers.settings import SettingsError
from tests.activities.http_peer import Peer, answer, listening
from tests.lab import Lab, working
from tests.workflows.toy_provider import TOY_KIND, ToySettings
from workers.settings import Settings

MODEL_ID = "55555555-5555-4555-8555-555555555555"
IMAGE = paint(Picture("a toy", 7, 256, 256))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that a new kind takes in the product."""
    monkeypatch.setitem(REGISTRY, TOY_KIND.name, TOY_KIND)


@pytest.fixture
async def service() -> AsyncIterator[Peer]:
    """The toy service, which answers everything with one picture."""
    async with listening() as peer:
        peer.says(answer(200, IMAGE, {"content-type": "image/png"}))
        yield peer


@pytest.fixture
def settings_with(
    stack: LocalStack, service: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The stack's settings and a provider of kind `toy`, read from a file."""

    def read(**more: Any) -> Settings:
        tables = tomllib.loads(stack.config_path.read_text())
        toy = {"kind": "toy", "base_url": service.url, "api_key": "toy-key", **more}
        tables["providers"]["playroom"] = toy
        tables["models"][MODEL_ID] = {"routes": [{"provider": "playroom", "model": "crayon"}]}
        file = tmp_path / "duragen.toml"
        file.write_text(tomli_w.dumps(tables))
        monkeypatch.setenv("DURAGEN_CONFIG", str(file))
        return Settings.read()

    return read


@pytest.mark.usefixtures("registered")
async def test_a_generation_is_made_by_it(
    lab: Lab, client: Client, service: Peer, settings_with: Any
) -> None:
    """One call, one image in Odoo; nothing else in the product knows of the kind."""
    settings = settings_with(palette="cold")
    request = lab.request(model_id=MODEL_ID, seed=7)
    async with working(client, settings):
        outcome = await lab.outcome(request)
    assert outcome.image is not None
    assert outcome.image.size == len(IMAGE)
    assert [each.path for each in service.received] == ["/paint?palette=cold&seed=7"]
    record = (await lab.ledgers(request)).record
    assert record is not None
    assert record["state"] == "completed"


@pytest.mark.usefixtures("registered")
async def test_it_is_probed_and_its_jobs_are_known(
    lab: Lab, service: Peer, settings_with: Any
) -> None:
    """What the doctor and the wiring ask of every kind."""
    settings = settings_with()
    toy = settings.providers["playroom"]
    assert isinstance(toy, ToySettings)
    assert kind_of(toy).has_jobs is False
    probed: Probed = await probes(settings.providers, lab.http)["playroom"]()
    assert probed.key_taken
    assert [each.path for each in service.received] == ["/about"]


def test_without_its_line_the_settings_name_the_kinds_that_there_are(settings_with: Any) -> None:
    """The worker does not start, and says what may stand there."""
    with pytest.raises(SettingsError) as caught:
        settings_with()
    expected = "providers.playroom.kind: must be one of flux, kubernetes, openai"
    assert expected in str(caught.value)


@pytest.mark.usefixtures("registered")
def test_a_field_of_another_kind_is_named(settings_with: Any) -> None:
    """With the fields that the kind has."""
    with pytest.raises(SettingsError) as caught:
        settings_with(poll_seconds=1)
    expected = "providers.playroom.poll_seconds: kind toy has only kind, base_url, api_key"
    assert expected in str(caught.value)
