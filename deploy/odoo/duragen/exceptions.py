"""Why a submission may be refused, beyond a ValidationError.

UserError
    CreditsError    the balance is too low
    QuotaError      the quota of the period, or the rate, is used up; `retry_after` in seconds
    ConflictError   the caller's reference belongs to a request for another image
"""

from odoo.exceptions import UserError


class CreditsError(UserError):
    """The balance is too low for the price."""


class QuotaError(UserError):
    """The quota or the rate is used up; there is room again in `retry_after` seconds."""

    def __init__(self, message, retry_after):
        super().__init__(message)
        self.retry_after = retry_after


class ConflictError(UserError):
    """The same reference for two different requests."""
