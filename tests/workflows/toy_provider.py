"""A whole provider in 40 lines: what docs/adding-a-provider.md walks through."""

from collections.abc import Collection
from typing import Literal

import httpx

from activities.memory import Admit
from activities.providers.errors import Dialect, read_detail, refused, translated
from activities.providers.kind import Parts, ProviderKind, ProviderSettings
from activities.providers.probing import LookUp, probe_by_look_up
from contracts.errors import ErrorCode
from contracts.events import RequestField
from contracts.provider_health import Probed
from contracts.tasks import SubmitTask
from peers.http import call

TOY = Dialect(name="the toy service", read=read_detail, statuses={418: ErrorCode.MODEL_CONFIG})


class ToySettings(ProviderSettings):
    """A service that answers `GET /paint?seed=…` with the image."""

    kind: Literal["toy"]
    palette: str = "warm"


class Toy:
    """One account. A picture painted twice costs nothing more."""

    repeatable = True

    def __init__(self, http: httpx.AsyncClient, settings: ToySettings) -> None:
        self._http = http
        self._url = f"{settings.base_url}/paint?palette={settings.palette}"
        self._key = settings.api_key.get_secret_value()

    async def submit(self, task: SubmitTask, admit: Admit) -> bytes:
        """Ask for the image and wait for it."""
        async with translated(TOY, self._key):
            answer = await call(
                self._http,
                "GET",
                f"{self._url}&seed={task.request.seed}",
                timeout_seconds=task.route.timeout_seconds,
                max_bytes=1_000_000,
                headers={"X-Key": self._key},
                before_body=admit,
            )
            if answer.status != 200:
                raise refused(answer, TOY)
            return answer.body


def _build(settings: ToySettings, parts: Parts) -> Toy:
    return Toy(parts.http, settings)


async def _probe(
    name: str, settings: ToySettings, http: httpx.AsyncClient, _models: Collection[str]
) -> Probed:
    look_up = LookUp(f"{settings.base_url}/about", {"X-Key": settings.api_key.get_secret_value()})
    return await probe_by_look_up(http, name, settings.base_url, settings.api_key, look_up)


TOY_KIND = ProviderKind(
    name="toy",
    settings=ToySettings,
    build=_build,
    probe=_probe,
    has_jobs=False,
    carries=lambda _: {RequestField.SEED: "seed"},
)
