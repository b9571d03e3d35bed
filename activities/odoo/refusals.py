"""A refusal that Odoo hides inside a success: JSON routes and methods answer 200 all the same."""

import re
from typing import Any, NamedTuple

_RESPONSE = re.compile(r"<Response \d+ bytes \[(\d{3}) [^\]]*\]>")
"""What a JSON route makes of a werkzeug Response that its code returned (odoo/odoo#117779)."""


class Inside(NamedTuple):
    """What is wrong; `passing` says that the same may be taken later."""

    what: str
    passing: bool = False


def refusal_in(result: Any) -> Inside | None:
    """What a `result` refuses: an error in a dict (odoo/odoo#71180), `success` or all of it false.

    None when it is no refusal. Nothing at all is none: methods of Odoo return it for "done".
    """
    if result is False:
        return Inside("false")
    if isinstance(result, str):
        found = _RESPONSE.fullmatch(result.strip())
        status = int(found[1]) if found else 200
        return _of_status(status, "an answer inside")
    if not isinstance(result, dict):
        return None
    if result.get("error") or result.get("success") is False:
        status = next((v for v in map(result.get, ("code", "status")) if isinstance(v, int)), 400)
        return _of_status(max(status, 400), "an error inside")
    return None


def _of_status(status: int, what: str) -> Inside | None:
    if status < 400:
        return None
    return Inside(f"{what}, {status}", passing=status in {408, 425, 429} or status >= 500)
