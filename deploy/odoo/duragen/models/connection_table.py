"""The table of this Odoo in Duragen's settings."""

import json
from urllib.parse import urlsplit

from odoo import models

from .connection import CALLBACK_PATH, WEBHOOK_PATH

_IN_BLOCK = {
    "token": "callback_token",
    "previous_token": "previous_callback_token",
    "signing_secret": "signing_secret",
    "previous_signing_secret": "previous_signing_secret",
}


class ConnectionTable(models.AbstractModel):
    """What the workers must know of this Odoo, as TOML."""

    _inherit = "duragen.connection"

    def _odoo_table(self):
        """TOML, ready to be pasted; what has its default there is left out."""
        url = urlsplit(self._callback_url())
        table = {"origin": f"{url.scheme}://{url.netloc}"}
        if url.path != CALLBACK_PATH:  # Odoo itself is below a path
            table["callback_paths"] = [url.path]
            table["webhooks_path"] = url.path.removesuffix(CALLBACK_PATH) + WEBHOOK_PATH
        if self._setting("outcome_path") == "rabbitmq":
            table["delivery"] = "rabbitmq"
        given = {name: self._setting(setting) for name, setting in _IN_BLOCK.items()}
        table |= {name: value for name, value in given.items() if value}
        # A text or a list of JSON is one of TOML, too.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
        return "\n".join(["[[odoo]]", *lines])
