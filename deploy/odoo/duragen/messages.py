"""The friendly texts of Duragen's error codes, so that people read them in their own language.

The English texts are those of the events (`userMessage`); a test of the project checks
that they agree.
"""


def texts(_):
    """The text of each code; `_` translates (Odoo's `env._`)."""
    # pylint: disable=prefer-env-translation  # it is `env._`
    busy = _("The image service is busy at the moment. Please try again in a few minutes.")
    delayed = _("Your image took too long this time. Nothing was charged. Please try again.")
    our_fault = _("Something is wrong on our side. Nothing was charged. Please try again later.")
    return {
        "RATE_LIMITED": busy,
        "QUEUE_TIMEOUT": busy,
        "NOT_SERVED": our_fault,
        "PROVIDER_UNAVAILABLE": busy,
        "PROVIDER_TIMEOUT": delayed,
        "OUTCOME_UNKNOWN": delayed,
        "JOB_LOST": delayed,
        "RESULT_EXPIRED": delayed,
        "INVALID_OUTPUT": busy,
        "REFUSED": _(
            "The image service refused this request. Nothing was charged."
            " Please change your prompt, or try again later."
        ),
        "INVALID_INPUT": _("Invalid input detected. Please review your prompt and parameters."),
        "POLICY_INPUT": _(
            "Your prompt goes against the image service's content rules. Please rephrase it."
        ),
        "POLICY_OUTPUT": _(
            "The image made from your prompt went against the image service's content rules."
            " Please rephrase your prompt."
        ),
        "AUTH_CONFIG": our_fault,
        "QUOTA_EXHAUSTED": our_fault,
        "MODEL_CONFIG": our_fault,
        "CANCELED": _("The request was canceled."),
        "STORE_UNAVAILABLE": our_fault,
        "CONFLICT": our_fault,
        "INTERNAL": our_fault,
    }


_SYSTEM, _OURS, _THEIRS = ("system", True), ("configuration", True), ("user", False)
_RULES = {
    "INVALID_INPUT": _THEIRS,
    "POLICY_INPUT": _THEIRS,
    "POLICY_OUTPUT": _THEIRS,
    "AUTH_CONFIG": _OURS,
    "QUOTA_EXHAUSTED": _OURS,
    "MODEL_CONFIG": _OURS,
    "CANCELED": ("canceled", False),
}


def rule(code):
    """(type, whether to try again) of a code, for events that do not say it."""
    return _RULES.get(code, _SYSTEM)


def english(code):
    """The text of a code as events carry it; an unknown code has the text of INTERNAL."""
    known = texts(str)
    return known.get(code, known["INTERNAL"])


def in_language(message, code, translate):
    """`message` with its standard part translated; the rest stays as the event has it."""
    standard = english(code)
    if not message.startswith(standard):
        return message
    known = texts(translate)
    return known.get(code, known["INTERNAL"]) + message[len(standard) :]
