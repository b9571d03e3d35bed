"""The addon as a module of Odoo."""

import re

import pytest

from deploy.local.real_odoo.addon import run_tests
from deploy.local.real_odoo.site import OdooSite


def test_it_installs_without_a_warning(installation: str) -> None:
    """Odoo has nothing to say against it: no missing access rule, no field it does not know."""
    lines = [line for line in installation.splitlines() if re.search(r" \d+ WARNING ", line)]
    assert [line for line in lines if "duragen" in line.partition(" with_addon ")[2]] == []


@pytest.mark.timeout(900)
def test_its_own_tests_pass(site: OdooSite) -> None:
    """Inside Odoo, on a database of their own; all of them are one test here."""
    _, ran = run_tests(site)
    assert ran > 150  # fewer would mean that some were not found
