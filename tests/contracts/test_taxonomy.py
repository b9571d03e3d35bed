"""The taxonomy as data, against the project's table of what image services say."""

import re

import pytest

from contracts.errors import TAXONOMY, Alert, Charge, ErrorCode, ErrorKind
from contracts.generation import Failure

# Columns: kind, tried again (as the same activity), next route, charge, alert.
# Where the table says "poll again, else generate again" (RESULT_EXPIRED) or "submit once more"
# (JOB_LOST), the activity retries polling, and the workflow submits.
TABLE = {
    "RATE_LIMITED": ("system", True, True, "release", "if_it_lasts"),
    "PROVIDER_UNAVAILABLE": ("system", True, True, "release", "by_rate"),
    "PROVIDER_TIMEOUT": ("system", True, True, "release", "by_rate"),
    "QUEUE_TIMEOUT": ("system", False, True, "release", "if_it_lasts"),
    "NOT_SERVED": ("system", False, True, "release", "always"),
    "OUTCOME_UNKNOWN": ("system", True, True, "release", "count"),
    "JOB_LOST": ("system", False, True, "release", "always"),
    "RESULT_EXPIRED": ("system", True, True, "release", "always"),
    "INVALID_OUTPUT": ("system", True, True, "release", "by_rate"),
    "REFUSED": ("system", False, True, "release", "by_rate"),
    "STORE_UNAVAILABLE": ("system", True, False, "release", "always"),
    "CONFLICT": ("system", False, False, "release", "always"),
    "INVALID_INPUT": ("user", False, False, "policy", "never"),
    "POLICY_INPUT": ("user", False, False, "policy", "by_rate"),
    "POLICY_OUTPUT": ("user", False, False, "policy", "by_rate"),
    "AUTH_CONFIG": ("configuration", False, True, "release", "page"),
    "QUOTA_EXHAUSTED": ("configuration", False, True, "release", "page"),
    "MODEL_CONFIG": ("configuration", False, True, "release", "page"),
    "CANCELED": ("canceled", False, False, "if_paid", "never"),
    "INTERNAL": ("system", False, False, "release", "always"),
}

USER_READS = {
    "RATE_LIMITED": "busy",
    "QUEUE_TIMEOUT": "busy",
    "NOT_SERVED": "our side",
    "PROVIDER_UNAVAILABLE": "busy",
    "INVALID_OUTPUT": "busy",
    "PROVIDER_TIMEOUT": "too long",
    "OUTCOME_UNKNOWN": "too long",
    "JOB_LOST": "too long",
    "RESULT_EXPIRED": "too long",
    "REFUSED": "refused",
    "STORE_UNAVAILABLE": "our side",
    "CONFLICT": "our side",
    "INVALID_INPUT": "review",
    "POLICY_INPUT": "rephrase",
    "POLICY_OUTPUT": "rephrase",
    "AUTH_CONFIG": "our side",
    "QUOTA_EXHAUSTED": "our side",
    "MODEL_CONFIG": "our side",
    "INTERNAL": "our side",
    "CANCELED": "canceled",
}

TECHNICAL = re.compile(
    r"\b(http|https|api|json|url|s3|sha|uuid|key|token|quota|credit|auth\w*|config\w*|provider|"
    r"server|database|odoo|temporal|openai|flux|worker|timeout|exception|error|null|none|"
    r"status|code|retry|workflow|activity|\d{3})\b|[A-Z]+_[A-Z]+|[{}<>\[\]]",
    re.IGNORECASE,
)


def test_every_code_has_a_rule() -> None:
    """No code is without a row, and no row is without a code."""
    assert set(TAXONOMY) == set(ErrorCode)


@pytest.mark.parametrize("code", list(ErrorCode))
def test_row(code: ErrorCode) -> None:
    """Each row says what the table says: whose fault, what is tried, who pays, the alert."""
    rule = TAXONOMY[code]
    assert (rule.kind, rule.retry, rule.next_route, rule.charge, rule.alert) == TABLE[code]


@pytest.mark.parametrize("code", list(ErrorCode))
def test_user_message(code: ErrorCode) -> None:
    """The user reads the table's words in whole sentences, and no technical ones."""
    message = TAXONOMY[code].user_message
    assert USER_READS[code] in message
    assert not TECHNICAL.search(message)
    assert message.endswith(".")


@pytest.mark.parametrize("code", list(ErrorCode))
def test_our_faults_are_not_charged(code: ErrorCode) -> None:
    """Only the user's own errors and cancellations may be charged."""
    rule = TAXONOMY[code]
    ours = rule.kind in {ErrorKind.SYSTEM, ErrorKind.CONFIGURATION}
    assert (rule.charge is Charge.RELEASE) == ours
    assert rule.retry_suggestion == ours


@pytest.mark.parametrize("code", list(ErrorCode))
def test_configuration_pages(code: ErrorCode) -> None:
    """What only our settings can fix pages an administrator, and nothing else does."""
    rule = TAXONOMY[code]
    assert (rule.alert is Alert.PAGE) == (rule.kind is ErrorKind.CONFIGURATION)


def test_hint_reaches_the_user() -> None:
    """What to fix is said after the friendly text; the operator's detail is not shown."""
    failure = Failure(code=ErrorCode.INVALID_INPUT, detail="400 invalid_value", hint="Check: size.")
    rule = TAXONOMY[ErrorCode.INVALID_INPUT]
    assert failure.user_message == f"{rule.user_message} Check: size."
