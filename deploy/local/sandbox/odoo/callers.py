"""Who may deliver outcomes to the sandbox Odoo."""

import hmac

from pydantic import BaseModel, ConfigDict
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.datastructures import Headers


class CallbackSecrets(BaseModel):
    """Who may call back: any of the tokens, and a signature by any of the secrets."""

    model_config = ConfigDict(extra="forbid")

    tokens: tuple[str, ...] = ()
    signing_secrets: tuple[str, ...] = ()

    def problem(self, headers: Headers, body: bytes) -> str | None:
        """Why the caller is not believed, None when it is."""
        given = headers.get("authorization", "").encode()
        right = [hmac.compare_digest(given, f"Bearer {token}".encode()) for token in self.tokens]
        if self.tokens and not any(right):
            return "wrong bearer token"
        problem = None
        for secret in self.signing_secrets:
            try:
                Webhook(secret).verify(body, dict(headers), json_parse=False)
            except (WebhookVerificationError, ValueError) as error:
                problem = f"wrong signature: {error}"
            else:
                return None
        return problem
