"""The settings of `duragen rabbitmq`: `[rabbitmq]`, and what `[[odoo]]` allows."""

from pydantic_settings import SettingsConfigDict

from peers.rabbitmq import RabbitTable
from peers.settings import FileSettings
from starter.gateway.settings import AllowedOdoo


class RabbitSettings(FileSettings):
    """All of it, frozen. Read with `RabbitSettings.read()`."""

    model_config = SettingsConfigDict(extra="ignore")

    rabbitmq: RabbitTable
    odoo: tuple[AllowedOdoo, ...] = ()

    @property
    def callbacks(self) -> dict[str, tuple[str, ...]]:
        """Where a `callbackUrl` may lead: the path prefixes of each origin."""
        return {odoo.origin: odoo.callback_paths for odoo in self.odoo}
