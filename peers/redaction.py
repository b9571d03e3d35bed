"""Taking secrets out of texts before they are logged, stored or shown."""

SHORTEST_PIECE_CHARACTERS = 8
"""A shorter piece of a secret is no help in guessing it."""


def redact(secret: str, text: str) -> str:
    """`text` without `secret`, and without a beginning of it that is left where a text was cut."""
    shortest = max(min(len(secret), SHORTEST_PIECE_CHARACTERS), 1)
    for length in range(len(secret), shortest - 1, -1):
        text = text.replace(secret[:length], "[secret]")
    return text
