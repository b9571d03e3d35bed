"""What a submission may be refused with, beyond a ValidationError.

UserError
    CreditsError    the balance does not suffice
    QuotaError      the quota of the period, or the rate, is used up; `retry_after` in seconds
    ConflictError   the caller's reference belongs to a request for another image
"""

from odoo.exceptions import UserError


class CreditsError(UserError):
    """The balance does not suffice for the price."""


class QuotaError(UserError):
    """No more for now; `retry_after` seconds from now there is room again."""

    def __init__(self, message, retry_after):
        super().__init__(message)
        self.retry_after = retry_after


class ConflictError(UserError):
    """The same reference for two different requests."""
