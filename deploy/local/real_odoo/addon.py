"""Our addon on a database: installed, brought up to date, and its own tests."""

import re
import sys
from pathlib import Path

from deploy.local.real_odoo.places import OUR_ADDONS, OdooFailedError, digest
from deploy.local.real_odoo.site import TEMPLATE, OdooSite

ADDON = "duragen"
_IRRELEVANT = re.compile(r"\S+ \S+ \d+ INFO \S+ (?!odoo\.(addons\.duragen\.tests|tests)\.)")
_SUMMARY = re.compile(r"(\d+) failed, (\d+) error\(s\) of (\d+) tests")


def with_addon(site: OdooSite, database: str) -> str:
    """Installs or updates the addon in `database`; returns what Odoo said, "" if all was current.

    Raises OdooFailedError.
    """
    made_of = _digest(OUR_ADDONS / ADDON)
    if not site.postgres.exists(database):
        site.clone(TEMPLATE, database)
    # The mark is written last, so that an installation that was killed is done again.
    if site.postgres.comment(database) == made_of:
        return ""
    said = site.install(database, ADDON)
    site.postgres.set_comment(database, made_of)
    return said


def run_tests(site: OdooSite, tags: str = f"/{ADDON}") -> tuple[str, int]:
    """Runs the addon's own tests on a new database; returns what was said, and how many there are.

    Raises OdooFailedError when one failed, and when there was none.
    """
    database = f"{ADDON}_tests"
    site.clone(TEMPLATE, database)
    quiet = "--log-handler=py.warnings:ERROR"  # warnings about Odoo's own modules
    what = ("-i", ADDON, *site.places.what_is_named_alone, "--test-tags", tags, quiet)
    code, said = site.run(database, *what)
    said = "\n".join(line for line in said.splitlines() if not _IRRELEVANT.match(line))
    found = _SUMMARY.findall(said)
    ran = sum(int(of) for _, _, of in found)
    failed = sum(int(failures) + int(errors) for failures, errors, _ in found)
    if code or failed or not ran:
        raise OdooFailedError(f"{said}\n{failed} of {ran} tests failed, Odoo ended with {code}")
    return said, ran


def _digest(folder: Path) -> str:
    files = sorted(
        file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    return digest(*(part for file in files for part in (str(file), file.read_bytes())), sys.version)
