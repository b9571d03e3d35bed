"""How each provider of the settings is asked, for free, whether it would serve us."""

from functools import partial

import httpx

from activities.providers.probing import Probe, probe
from workers.settings import Settings


def provider_probes(settings: Settings, http: httpx.AsyncClient) -> dict[str, Probe]:
    """By the provider's name; for `duragen doctor` and for the activity `probe_provider`."""
    return {
        name: partial(probe, http, name, provider.kind, provider.base_url, provider.api_key)
        for name, provider in settings.providers.items()
    }
