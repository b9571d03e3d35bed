"""Why a submission may be refused, beyond a ValidationError.

UserError
    CreditsError    the balance is too low
    PriceError      the price is higher than the one that was shown; `price` is the new one
    QuotaError      the quota of the period, or the rate, is used up; `retry_after` in seconds
    ConflictError   the caller's reference belongs to a request for another image

And why an outcome may not be applied: SettingsError, AwayError.
"""

from odoo.exceptions import UserError, ValidationError


class CreditsError(UserError):
    """The balance is too low for the price."""


class PriceError(UserError):
    """The price has risen to `price` since it was shown."""

    def __init__(self, message, price):
        super().__init__(message)
        self.price = price


class QuotaError(UserError):
    """The quota or the rate of `limit` is used up; there is room again in `retry_after` seconds."""

    def __init__(self, message, retry_after, limit):
        super().__init__(message)
        self.retry_after = retry_after
        self.limit = limit


class ConflictError(UserError):
    """The same reference for two different requests."""


class SettingsError(ValidationError):
    """The outcome is sound; Odoo's settings are not, and the text says what to set."""


class AwayError(UserError):
    """The gateway or the image store does not answer: the next image would wait as long."""
