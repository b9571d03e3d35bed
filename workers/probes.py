"""How each provider of the settings is asked, for free, whether it would serve us."""

from functools import partial

import httpx

from activities.providers.probing import Probe, probe
from contracts.health import Probed
from workers.settings import ProviderSettings, Settings


def provider_probes(settings: Settings, http: httpx.AsyncClient) -> dict[str, Probe]:
    """By the provider's name; for `duragen doctor`."""
    return {
        name: provider_probe(name, provider, http) for name, provider in settings.providers.items()
    }


def provider_probe(name: str, provider: ProviderSettings, http: httpx.AsyncClient) -> Probe:
    """Of one provider; also for the activity `probe_provider`."""
    if provider.kind == "kubernetes":
        return partial(_cluster, name, provider)
    return partial(probe, http, name, provider.kind, provider.base_url, provider.api_key)


async def _cluster(name: str, provider: ProviderSettings) -> Probed:
    # Here, as in workers/wiring.py: the client library is slow to import.
    from activities.providers.kubernetes_api import Cluster  # noqa: PLC0415
    from activities.providers.kubernetes_http import Connection  # noqa: PLC0415
    from activities.providers.kubernetes_probe import probe_cluster  # noqa: PLC0415

    connection = Connection(
        provider.base_url, provider.api_key, provider.token_file, provider.ca_file
    )
    try:
        return await probe_cluster(Cluster(connection), name, provider.namespace)
    finally:
        await connection.close()
