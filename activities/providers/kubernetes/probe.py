"""Asking a Kubernetes cluster, for free, whether it would run our Jobs."""

import asyncio

from activities.errors import ProviderError
from activities.providers.kubernetes.api import PERMISSIONS, Cluster
from activities.providers.kubernetes.connection import NAME
from activities.providers.probing import TIMEOUT_SECONDS
from contracts.errors import ErrorCode
from contracts.provider_health import Probed


async def probe_cluster(
    cluster: Cluster, name: str, namespace: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> Probed:
    """Ask the provider `name` what its account may do. Raises nothing; the token is in no text."""
    table = f"providers.{name}"
    try:
        async with asyncio.timeout(timeout_seconds):
            lacking = [each for each in PERMISSIONS if not await cluster.may(namespace, each)]
    except TimeoutError:
        return Probed(found=f"{NAME} did not answer in time", fix=f"check {table}.base_url")
    except ProviderError as error:
        fix = {
            ErrorCode.AUTH_CONFIG: f"set a valid token: {table}.api_key or {table}.token_file",
            ErrorCode.PROVIDER_UNAVAILABLE: f"check {table}.base_url, {table}.ca_file and that the"
            " API server is up",
        }.get(error.failure.code, f"check {table}.base_url")
        return Probed(found=error.failure.detail, fix=fix)
    if lacking:
        permissions = ", ".join(map(str, lacking))
        found = f"{NAME} takes the token, which may not {permissions} in the namespace {namespace}"
        fix = "bind the account to a Role with these permissions (docs/settings.md has one)"
        return Probed(found=found, fix=fix, key_taken=True)
    return Probed(found=f"{NAME} takes the token for Jobs in {namespace}", key_taken=True)
