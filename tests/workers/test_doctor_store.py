"""`duragen doctor` on stores that differ: it says what is missing, before money is spent."""

import os
from pathlib import Path

import httpx
import pytest

from activities.providers.kubernetes.kind import KubernetesSettings
from deploy.local.stack.config import BUCKET
from peers.store import StorageSettings
from tests.activities.odd_store import OddStore, odd_store
from workers.doctor.finding import Finding
from workers.doctor.store import spool, store
from workers.settings import OdooSettings, ProcessSettings, Settings

KEYS = {"access_key_id": "id", "secret_access_key": "secret"}
AT_HOME = OdooSettings(origin="http://127.0.0.1:8069")
ELSEWHERE = OdooSettings(origin="https://erp.example.com")
WITH_DATA = OdooSettings(origin="https://erp.example.com", images="data")


async def examined(
    odd: OddStore, settings: Settings, *odoos: OdooSettings, **storage: object
) -> Finding:
    """What the doctor says of this store."""
    async with odd_store(odd) as peer, httpx.AsyncClient(trust_env=False) as http:
        where = {"bucket": BUCKET, "endpoint_url": peer.url, **KEYS, **storage}
        changes = {"storage": StorageSettings.model_validate(where), "odoo": odoos or (AT_HOME,)}
        return await store(settings.model_copy(update=changes), http)


WELL = {
    "as Amazon's": (OddStore(), "writes, reads, links and deletes"),
    "checksums refused": (OddStore(refuses_checksums=True), "Content-MD5 is sent"),
    "condition refused": (OddStore(condition="refused"), "each image gets a key of its own"),
    "condition ignored": (OddStore(condition="ignored"), "each image gets a key of its own"),
    "missing is hidden": (OddStore(hides_missing=True), "it answers 403 for what is missing"),
}


@pytest.mark.parametrize(("odd", "said"), list(WELL.values()), ids=list(WELL))
async def test_what_it_does_differently(odd: OddStore, said: str, settings: Settings) -> None:
    """Is no fault: Duragen does otherwise, and the doctor says so. Nothing is left there."""
    finding = await examined(odd, settings)
    assert said in finding.found
    assert not finding.fix
    assert odd.objects == {}


WRONG = {
    "encryption is demanded": (OddStore(wants_encryption=True), "set storage.encryption", {}),
    "host style alone": (
        OddStore(host_style_alone=True),
        'storage.addressing_style = "virtual"',
        {},
    ),
    "no right to write": (OddStore(refuses_writes=True), "s3:PutObject", {}),
    "no right to write, with a key of one's own": (
        OddStore(refuses_writes=True),
        "kms:GenerateDataKey",
        {"encryption": "aws:kms", "kms_key_id": "a-key"},
    ),
    "no right to read": (OddStore(may_read=False), "s3:GetObject", {}),
    "no right to list where it is needed": (
        OddStore(condition="ignored", may_list=False),
        "s3:ListBucket",
        {},
    ),
    "a setting promises conditional writes": (
        OddStore(condition="ignored"),
        "leave storage.conditional_writes out",
        {"conditional_writes": True},
    ),
    "a public address that nobody answers at": (
        OddStore(),
        "set storage.public_endpoint_url",
        {"public_endpoint_url": "http://127.0.0.1:1"},
    ),
}


@pytest.mark.parametrize(("odd", "fix", "storage"), list(WRONG.values()), ids=list(WRONG))
async def test_what_is_wrong(
    odd: OddStore, fix: str, storage: dict[str, object], settings: Settings
) -> None:
    """The right or the setting is named."""
    assert fix in (await examined(odd, settings, **storage)).fix


async def test_results_of_jobs(settings: Settings) -> None:
    """Where Kubernetes makes images, their results must be readable; nobody else needs that."""
    store_without = OddStore(forbidden="jobs/")
    assert not (await examined(store_without, settings)).fix
    cluster = KubernetesSettings(kind="kubernetes", base_url="http://127.0.0.1:1", api_key="token")
    with_jobs = settings.model_copy(update={"providers": {"cluster": cluster}})
    assert "s3:GetObject" in (await examined(store_without, with_jobs)).fix
    assert not (await examined(OddStore(), with_jobs)).fix


async def test_link_that_leads_odoo_to_itself(settings: Settings) -> None:
    """An Odoo elsewhere cannot open a link to this machine's loopback."""
    finding = await examined(OddStore(), settings, AT_HOME, ELSEWHERE)
    assert "would lead https://erp.example.com to its own machine" in finding.found
    assert "storage.public_endpoint_url" in finding.fix


async def test_no_link_is_needed(settings: Settings) -> None:
    """Where each Odoo gets the image itself, nobody opens a link."""
    finding = await examined(
        OddStore(), settings, WITH_DATA, public_endpoint_url="http://127.0.0.1:1"
    )
    assert not finding.fix


async def test_where_links_lead(settings: Settings) -> None:
    """An operator reads what each Odoo must reach: from here it cannot be tried."""
    assert "links lead to http://127.0.0.1:" in (await examined(OddStore(), settings)).found


async def test_spool(tmp_path: Path) -> None:
    """Not there is no fault; what waits is counted; a folder that cannot be is named."""
    folder = tmp_path / "spool"
    settings = ProcessSettings(spool_dir=folder)
    assert not (await spool(settings)).fix
    assert not folder.exists()
    folder.mkdir()
    (folder / "a.image").write_bytes(b"12345")
    (folder / "b.lost").touch()
    finding = await spool(settings)
    assert "1 images wait, 5 bytes; 1 are lost" in finding.found
    assert not finding.fix
    (folder / "a.image").write_bytes(b"")
    os.truncate(folder / "a.image", settings.spool_bytes)  # sparse: it takes no room
    assert "nothing is paid for" in (await spool(settings)).fix
    file = tmp_path / "file"
    file.touch()
    assert (await spool(ProcessSettings(spool_dir=file))).fix
