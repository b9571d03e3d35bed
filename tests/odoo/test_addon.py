"""The addon as a module of Odoo."""

import re


def test_it_installs_without_a_warning(installation: str) -> None:
    """Odoo has nothing to say against it: no missing access rule, no field it does not know."""
    lines = [line for line in installation.splitlines() if re.search(r" \d+ WARNING ", line)]
    assert [line for line in lines if "duragen" in line.partition(" with_addon ")[2]] == []
