"""The kind `kubernetes`: its settings, how it is built and probed.

The client library costs 0.3 s and 43 MB, which only its users should pay: it is imported inside.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Literal, Self

import httpx
from pydantic import Field, FilePath, SecretStr, model_validator

from activities.providers.kind import Parts, ProviderKind, ProviderSettings
from activities.providers.service import JobService
from contracts.events import RequestField
from contracts.generation import Route
from contracts.provider_health import Probed
from peers.setting_types import ApiKey, CaFile

if TYPE_CHECKING:
    from activities.providers.kubernetes.connection import Connection


class KubernetesSettings(ProviderSettings):
    """One namespace of a cluster, and an account on it: a token in `api_key` or in `token_file`."""

    kind: Literal["kubernetes"]
    api_key: ApiKey = SecretStr("")
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")] = "default"
    poll_seconds: Annotated[float, Field(gt=0)] = 1.0
    """Pause between two looks at a Job."""
    token_file: FilePath | None = None
    """Read before each call: the token that a pod is given changes every hour."""
    ca_file: CaFile | None = None
    """Who signed the API server's certificate; None: somebody whom the system trusts."""
    ttl_seconds: Annotated[int, Field(ge=60)] = 3_600
    """How long a Job that has ended stays, with its pod's log."""

    @model_validator(mode="after")
    def _has_token(self) -> Self:
        if bool(self.api_key.get_secret_value()) == bool(self.token_file):
            raise ValueError("kind kubernetes needs api_key or token_file, and not both")
        return self


def _connection(settings: KubernetesSettings) -> "Connection":
    from activities.providers.kubernetes.connection import Connection  # noqa: PLC0415

    return Connection(settings.base_url, settings.api_key, settings.token_file, settings.ca_file)


def _build(settings: KubernetesSettings, parts: Parts) -> JobService:
    from activities.providers.kubernetes.api import Cluster  # noqa: PLC0415
    from activities.providers.kubernetes.jobs import KubernetesJobs  # noqa: PLC0415

    connection = _connection(settings)
    parts.closing.push_async_callback(connection.close)
    return KubernetesJobs(
        Cluster(connection),
        parts.store,
        settings.namespace,
        ttl_seconds=settings.ttl_seconds,
        poll_seconds=settings.poll_seconds,
    )


async def _probe(
    name: str, settings: KubernetesSettings, _http: httpx.AsyncClient, _models: Collection[str]
) -> Probed:
    from activities.providers.kubernetes.api import Cluster  # noqa: PLC0415
    from activities.providers.kubernetes.probe import probe_cluster  # noqa: PLC0415

    connection = _connection(settings)
    try:
        return await probe_cluster(Cluster(connection), name, settings.namespace)
    finally:
        await connection.close()


def _check_route(route: Route) -> None:
    from activities.providers.kubernetes.job_object import parameters_of  # noqa: PLC0415

    parameters_of(route)


KUBERNETES_KIND = ProviderKind(
    name="kubernetes",
    settings=KubernetesSettings,
    build=_build,
    probe=_probe,
    has_jobs=True,
    # Parameters are the Job's, and cannot stand in for what is in the request.
    timeout_is_the_jobs=True,
    check_route=_check_route,
    carries=lambda _: {field: f"DURAGEN_REQUEST.{field}" for field in RequestField},
)
