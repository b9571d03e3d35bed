"""One line of `duragen doctor`."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One dependency: `fix` is empty when it is well."""

    what: str
    found: str
    fix: str = ""
