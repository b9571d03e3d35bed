"""The addon's own tests inside a real Odoo: `python -m …real_odoo.addon_tests [TAGS]`."""

import sys

from deploy.local.real_odoo.addon import ADDON, run_tests
from deploy.local.real_odoo.install import installed
from deploy.local.real_odoo.places import OdooFailedError, OdooUnavailableError
from deploy.local.real_odoo.site import scratch_site
from deploy.local.stack.supervisor import PartFailedError


def main() -> int:
    """Runs them on a new database; 0 when all passed and there were some."""
    tags = sys.argv[1] if len(sys.argv) > 1 else f"/{ADDON}"
    try:
        with scratch_site(installed(), print) as site:
            said, ran = run_tests(site, tags)
    except (OdooUnavailableError, OdooFailedError, PartFailedError) as error:
        print(error, file=sys.stderr)
        return 1
    print(said)
    print(f"{ran} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
