"""Asking a Kubernetes cluster, for free, whether it would run our Jobs."""

import asyncio

from activities.errors import ProviderError
from activities.providers.kubernetes_api import RIGHTS, Cluster
from activities.providers.kubernetes_http import NAME
from activities.providers.probing import TIMEOUT_SECONDS
from contracts.errors import ErrorCode
from contracts.health import Probed


async def probe_cluster(cluster: Cluster, name: str, namespace: str) -> Probed:
    """Ask the provider `name` what its account may do. Raises nothing; the token is in no text."""
    table = f"providers.{name}"
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            lacking = [right for right in RIGHTS if not await cluster.may(namespace, right)]
    except TimeoutError:
        return Probed(found=f"{NAME} did not answer in time", mend=f"check {table}.base_url")
    except ProviderError as error:
        mend = {
            ErrorCode.AUTH_CONFIG: f"set a valid token: {table}.api_key or {table}.token_file",
            ErrorCode.PROVIDER_UNAVAILABLE: f"check {table}.base_url, {table}.ca_file and that the"
            " API server is up",
        }.get(error.failure.code, f"check {table}.base_url")
        return Probed(found=error.failure.detail, mend=mend)
    if lacking:
        rights = ", ".join(map(str, lacking))
        found = f"{NAME} takes the token, which may not {rights} in the namespace {namespace}"
        mend = "bind the account to a Role with these rights (docs/settings.md has one)"
        return Probed(found=found, mend=mend, key_taken=True)
    return Probed(found=f"{NAME} takes the token for Jobs in {namespace}", key_taken=True)
