"""`python -m deploy.local.real_odoo.install`: everything for a real Odoo 19, in the cache folder.

What is there already is used as it is, so that a second run costs nothing.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deploy.local.real_odoo import debian, interpreter, postgres, source
from deploy.local.real_odoo.places import (
    DEFAULT_HOME,
    HOME_VARIABLE,
    OdooFailedError,
    OdooUnavailableError,
    Places,
    digest,
    one_at_a_time,
    room_below,
)
from deploy.local.real_odoo.seed import seeded
from deploy.local.real_odoo.site import MODULES, Say

_NEWS_SECONDS = 0.5


def installed(say: Say = print) -> Places:
    """Makes what is missing; returns where everything is.

    Raises OdooUnavailableError, OdooFailedError.
    """
    postgres.programs()  # not fetched here: if it is missing, fail before the rest is fetched
    checkout = source.checkout()
    home = Path(os.environ.get(HOME_VARIABLE) or _default_home(checkout)).resolve()
    places = Places(room_below(home, postgres.enters))

    with one_at_a_time(places.home):
        if not places.seed.exists():
            say(f"Odoo       is set up in {places.home}; this takes a minute or two")
        with ThreadPoolExecutor(max_workers=2) as both:
            # One waits for the network while the other unpacks.
            tasks = [
                both.submit(_fetched, "its files", _files_from(checkout), places, say),
                both.submit(_fetched, "its Python", interpreter.installed, places, say),
            ]
        for task in tasks:
            task.result()
        with timed("database", say):
            seeded(places, say)
    return places


def _default_home(checkout: Path | None) -> Path:
    # Another checkout has other databases.
    return DEFAULT_HOME.with_name(f"odoo-{digest(str(checkout))}") if checkout else DEFAULT_HOME


def _files_from(checkout: Path | None) -> Callable[[Places], bool]:
    if not checkout:
        return debian.unpacked
    return lambda places: source.laid_out(places, checkout, MODULES)


def _fetched(name: str, fetch: Callable[[Places], bool], places: Places, say: Say) -> None:
    with timed(name, say):
        fetch(places)


@contextmanager
def timed(name: str, say: Say) -> Iterator[None]:
    """Says how long the block took, unless it found its work done."""
    began = time.monotonic()
    yield
    if (took := time.monotonic() - began) > _NEWS_SECONDS:
        say(f"{name:<10} {took:.1f} s")


def main() -> int:
    """Installs, and says where; 1 when this machine cannot."""
    try:
        places = installed()
    except (OdooUnavailableError, OdooFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Odoo {debian.version(places)} stands in {places.home}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
