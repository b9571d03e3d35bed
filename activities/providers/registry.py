"""The one list of the kinds of image services, and the settings read by it.

A new kind is a line of `REGISTRY`: docs/adding-a-provider.md.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

import httpx
from pydantic import PlainValidator, SerializeAsAny, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from activities.providers.flux import FLUX_KIND
from activities.providers.kind import ProviderKind, ProviderSettings
from activities.providers.kubernetes.kind import KUBERNETES_KIND
from activities.providers.openai import OPENAI_KIND
from activities.providers.probing import Probe

REGISTRY: dict[str, ProviderKind[Any]] = {
    kind.name: kind for kind in (OPENAI_KIND, FLUX_KIND, KUBERNETES_KIND)
}
"""By the value of the setting `kind`."""


def kind_of(provider: ProviderSettings) -> ProviderKind[Any]:
    """The kind of a provider of the settings."""
    return REGISTRY[provider.kind]


def probes(
    providers: Mapping[str, ProviderSettings],
    http: httpx.AsyncClient,
    models: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, Probe]:
    """How each provider is asked whether it would serve us, by its name; and about its `models`."""
    return {
        name: partial(kind_of(provider).probe, name, provider, http, models.get(name, ()))
        for name, provider in providers.items()
    }


def _of_its_kind(table: Any) -> ProviderSettings:
    """A provider's table as the settings of its kind; each fault is at the setting's own name."""
    if isinstance(table, ProviderSettings):
        return table
    name = table.get("kind") if isinstance(table, Mapping) else None
    kind = REGISTRY.get(name) if isinstance(name, str) else None
    if kind is None:
        raise _refused([(("kind",), f"must be one of {', '.join(sorted(REGISTRY))}")])
    try:
        settings: ProviderSettings = kind.settings.model_validate(table)
    except ValidationError as error:
        unknown = f"kind {kind.name} has only {', '.join(kind.settings.model_fields)}"
        raise _refused(
            (each["loc"], unknown if each["type"] == "extra_forbidden" else each["msg"])
            for each in error.errors(include_url=False, include_input=False)
        ) from None
    return settings


def _refused(faults: Iterable[tuple[tuple[int | str, ...], str]]) -> ValidationError:
    # Each text is a value of the template, because texts may hold braces. The input is left out,
    # because it may be a secret.
    details = [
        InitErrorDetails(
            type=PydanticCustomError("provider_setting", "{text}", {"text": text}),
            loc=loc,
            input=None,
        )
        for loc, text in faults
    ]
    return ValidationError.from_exception_data("provider", details)


Provider = Annotated[SerializeAsAny[ProviderSettings], PlainValidator(_of_its_kind)]
"""A provider's table: a union that its `kind` discriminates."""
