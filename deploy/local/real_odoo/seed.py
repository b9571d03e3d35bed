"""The seed: a cluster with a template database, made once; each run starts from a copy of it."""

import secrets
from pathlib import Path

from deploy.local.real_odoo import postgres
from deploy.local.real_odoo.places import Places, digest, made_once, recipe_of
from deploy.local.real_odoo.site import MODULES, TEMPLATE, OdooSite, Say


def seeded(places: Places, say: Say) -> bool:
    """Makes the seed in `places.seed` if it is missing; returns whether it had to."""

    def make(folder: Path) -> None:
        password = folder / "password"
        password.touch(0o600)
        password.write_text(secrets.token_urlsafe(24))
        (folder / "data").mkdir()
        postgres.initialise(folder / "postgres", password.read_text())
        with OdooSite(places, folder, places.home, say) as site:
            there = [name for name in MODULES if (places.addons / name).is_dir()]
            site.install(TEMPLATE, *there, addons=())

    made_of = (recipe_of(places.debian), recipe_of(places.venv), postgres.major_version())
    return made_once(places.seed, digest(*made_of, *MODULES, "2"), make)
