"""The parts of the stack: which program each is, and when it is ready."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import httpx
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from contracts.names import SEARCH_ATTRIBUTES
from deploy.local.sandbox.images.protocols import PROTOCOLS
from deploy.local.sandbox.serving import HOST
from deploy.local.stack.config import BUCKET, ODOO_DATABASE, ODOO_LOGIN, Secrets
from deploy.local.stack.layout import Site, environment_of_part, program
from deploy.local.stack.private import private_folder, write_private
from deploy.local.stack.supervisor import Part

_READY_KEY = ".ready"
_DYNAMIC_CONFIG = (
    # One shard reads its transfer queue 20 times a second by default: every step would wait for
    # up to 50 ms.
    "history.transferProcessorMaxPollRPS=2000",
    # One user with a thousand requests does not starve the others; partitions would blur it.
    "matching.enableFairness=true",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # `duragen erase` waits until these have written down how far they are: 30 s by default.
    'history.transferProcessorUpdateAckInterval="1s"',
    'history.visibilityProcessorUpdateAckInterval="1s"',
)

_FRUGAL_GO = {"GOMAXPROCS": str(max(1, (os.cpu_count() or 2) // 2)), "GOGC": "300"}
"""For the servers written in Go, which share the machine with everything else: with as many threads
as cores and the usual garbage collection they take a fifth more CPU for the same work."""


class NotReadyError(Exception):
    """A part answers, but not yet as it should."""


def temporal(site: Site) -> Part:
    """The whole of Temporal with its Web UI, in one process and one SQLite file."""
    http_port = site.port_registry.pick("temporal_http")
    metrics_port = site.port_registry.pick("temporal_metrics")
    command = [
        *(program("temporal"), "server", "start-dev", "--ip", HOST, "--log-level", "warn"),
        *("--port", str(site.ports.temporal), "--ui-port", str(site.ports.ui)),
        *(
            "--http-port",
            str(http_port),
            "--metrics-port",
            str(metrics_port),
        ),
        *("--db-filename", str(private_folder(site.home / "temporal") / "temporal.sqlite")),
        "--ui-disable-news-fetch",
        # Half the server's CPU and half the latency of SQLite's default journal; what was
        # committed is safe when a process is killed, which is what this stack must survive.
        *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
        # Each start changes some eighty pages of indexes, mostly the same ones: copied to the
        # database after 40 MB in place of 4, they cost a tenth less of the server's CPU.
        *("--sqlite-pragma", "wal_autocheckpoint=10000"),
    ]
    # Which search attributes there are, the development server reads from its database for each
    # start, list and update; from a copy that is at most a minute old, a start costs a tenth less.
    fresh = "true" if site.options.more_namespaces else "false"
    for value in (*_DYNAMIC_CONFIG, f"system.forceSearchAttributesCacheRefreshOnRead={fresh}"):
        command += ["--dynamic-config-value", value]
    for name in SEARCH_ATTRIBUTES:
        command += ["--search-attribute", f"{name}=Keyword"]
    url = f"http://{HOST}:{http_port}/api/v1/namespaces/default/search-attributes"

    def probe() -> None:
        missing = set(SEARCH_ATTRIBUTES) - set(_get(url).json().get("customAttributes", {}))
        if missing:
            raise NotReadyError(f"search attributes {', '.join(sorted(missing))} are missing")

    return Part("temporal", command, probe, environment=environment_of_part(_FRUGAL_GO))


def store(site: Site) -> Part:
    """SeaweedFS with its S3 API; its other ports are on loopback, of our own choosing."""
    folder = private_folder(site.home / "store")
    identities = folder / "s3.json"
    write_private(identities, json.dumps(_identities(site.secrets)))
    inner = {
        flag: str(site.port_registry.pick(f"store_{flag}"))
        for flag in (
            *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
            *("filer.port", "filer.port.grpc", "s3.port.grpc", "admin.port", "admin.port.grpc"),
        )
    }
    # `mini` starts its parts one after the other as soon as each is ready (0.8 s; `server` sleeps
    # and retries for 3 to 8 s) and ends in a second where `server` takes fifteen.
    command = [
        *(program("weed"), "-logtostderr", "mini", f"-dir={private_folder(folder / 'data')}"),
        *(f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.port={site.ports.s3}"),
        *(f"-{flag}={port}" for flag, port in inner.items()),
        *(f"-s3.config={identities}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-webdav=false", "-admin.ui=false", f"-admin.dataDir={private_folder(folder / 'admin')}"),
        # An empty Raft is ready at once; a resumed one elects first, and volumes that call
        # meanwhile come back only after 5 s. They bring all that it must know.
        "-master.resumeState=false",
        # No space is preallocated, and no telemetry is sent to its maker.
        *("-master.volumeSizeLimitMB=512", "-volume.max=64", "-master.telemetry=false"),
        *("-master.electionTimeout=1s", "-volume.preStopSeconds=0", "-filer.disableDirListing"),
    ]
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://{HOST}:{site.ports.s3}",
        region_name="us-east-1",
        aws_access_key_id=site.secrets.s3_access_key,
        aws_secret_access_key=site.secrets.s3_secret_key,
        config=BotoConfig(
            connect_timeout=1, read_timeout=10, proxies={}, retries={"total_max_attempts": 1}
        ),
    )

    def probe() -> None:
        try:
            s3.create_bucket(Bucket=BUCKET)
        except ClientError as error:
            if not error.response["Error"]["Code"].startswith("BucketAlready"):
                raise
        # A bucket exists before the volumes are known: only an object with a body asks for them.
        s3.put_object(Bucket=BUCKET, Key=_READY_KEY, Body=b"ready")
        s3.get_object(Bucket=BUCKET, Key=_READY_KEY)["Body"].read()
        s3.delete_object(Bucket=BUCKET, Key=_READY_KEY)

    def tidy() -> None:
        # Its sockets have a fixed folder, and it leaves them behind.
        for port in (*inner.values(), site.ports.s3):
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  # its choice
                left.unlink(missing_ok=True)

    return Part(
        "store",
        command,
        probe,
        environment=environment_of_part({**_FRUGAL_GO, **_signed(site.secrets.store_key)}),
        # Its filer sometimes waits 15 s for its own subscribers; what was written is safe before.
        stop_seconds=2,
        killable=True,
        tidy=tidy,
    )


def images(site: Site) -> Part:
    """The sandbox image service."""
    command = [
        *(sys.executable, "-m", "deploy.local.sandbox.images.app"),
        *("--port", str(site.ports.images), "--state", str(site.home / "images")),
        *("--latency", str(site.options.latency_seconds)),
    ]
    if site.options.canned_bytes:
        command += ["--canned-bytes", str(site.options.canned_bytes)]
    keys = {each.key_variable: site.secrets.provider_keys[each.kind] for each in PROTOCOLS}
    probe = _answers(f"http://{HOST}:{site.ports.images}/_sandbox/health")
    return Part("images", command, probe, environment=environment_of_part(keys))


def odoo(site: Site) -> Part:
    """The sandbox Odoo."""
    command = [
        *(sys.executable, "-m", "deploy.local.sandbox.odoo.app"),
        *("--port", str(site.ports.odoo), "--state", str(site.home / "odoo")),
        *("--database", ODOO_DATABASE, "--login", ODOO_LOGIN),
        *("--user-errors", site.options.user_errors, "--credits", str(site.options.credits)),
    ]
    if site.ports.gateway:
        command += ["--gateway-url", f"http://{HOST}:{site.ports.gateway}"]
    keys = {
        "DURAGEN_SANDBOX_TOKEN": site.secrets.odoo_token,
        "DURAGEN_SANDBOX_SIGNING_SECRET": site.secrets.odoo_signing_secret,
        "DURAGEN_SANDBOX_PASSWORD": site.secrets.odoo_password,
        "DURAGEN_SANDBOX_GATEWAY_KEY": site.secrets.api_key,
        "DURAGEN_SANDBOX_API_KEY": site.secrets.developer_key,
    }
    probe = _answers(f"http://{HOST}:{site.ports.odoo}/_sandbox/health")
    return Part("odoo", command, probe, environment=environment_of_part(keys))


def notifications(site: Site) -> Part:
    """The notification sandbox: the notification service, and an Alertmanager."""
    command = [
        *(sys.executable, "-m", "deploy.local.sandbox.notifications.app"),
        *("--port", str(site.ports.notifications), "--state", str(site.home / "notifications")),
    ]
    keys = {"DURAGEN_SANDBOX_NOTIFY_TOKEN": site.secrets.notify_token}
    probe = _answers(f"http://{HOST}:{site.ports.notifications}/_sandbox/health")
    return Part("notifications", command, probe, environment=environment_of_part(keys))


def worker(site: Site) -> Part:
    """The worker process; it gets the time to finish or hand back what is running.

    On one machine the gateway and the servers come first: a request is acknowledged before others
    are worked on, so the worker is nicer than they are.
    """
    command = [*_nicer(5), sys.executable, "-m", "workers"]
    probe = _answers(f"http://{HOST}:{site.ports.worker}/health/ready")
    environment = environment_of_part(site.own_environment)
    return Part("worker", command, probe, environment=environment, stop_seconds=15)


def _nicer(by: int) -> list[str]:
    found = shutil.which("nice")
    return [found, "-n", str(by)] if found else []


def gateway(site: Site) -> Part:
    """The HTTP API."""
    command = [sys.executable, "-m", "starter.gateway"]
    probe = _answers(f"http://{HOST}:{site.ports.gateway}/health/ready")
    environment = environment_of_part(site.own_environment)
    return Part("gateway", command, probe, environment=environment, stop_seconds=10)


def rabbitmq(site: Site) -> Part:
    """The consumer of requests, where there is a RabbitMQ to consume from."""
    port = site.port_registry.pick("rabbitmq_health")
    own = {**site.own_environment, "DURAGEN_RABBITMQ__HEALTH_PORT": str(port)}
    # Alive, not ready: the broker may come later than we do.
    probe = _answers(f"http://{HOST}:{port}/health")
    command = [sys.executable, "-m", "starter.rabbitmq"]
    return Part("rabbitmq", command, probe, environment_of_part(own), stop_seconds=30)


SERVERS: dict[str, Callable[[Site], Part]] = {
    "temporal": temporal,
    "store": store,
    "images": images,
    "odoo": odoo,
    "notifications": notifications,
}
"""Started together, ended last."""

OURS: dict[str, Callable[[Site], Part]] = {
    "worker": worker,
    "gateway": gateway,
    "rabbitmq": rabbitmq,
}
"""Started when the servers are ready, ended first."""

ALL_PARTS = (*SERVERS, *OURS)


def _identities(known: Secrets) -> dict[str, object]:
    keys = {"accessKey": known.s3_access_key, "secretKey": known.s3_secret_key}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "duragen", "credentials": [keys], "actions": actions}]}


def _signed(key: str) -> dict[str, str]:
    """What makes filer and volumes refuse whoever does not come through the S3 API."""
    kinds = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    return {f"WEED_JWT_{kind}_KEY": f"{key}{kind}" for kind in kinds}


def _get(url: str) -> httpx.Response:
    # trust_env=False: a proxy has no business between two processes of one machine.
    return httpx.get(url, timeout=5, trust_env=False).raise_for_status()


def _answers(url: str) -> Callable[[], None]:
    def probe() -> None:
        _get(url)

    return probe
