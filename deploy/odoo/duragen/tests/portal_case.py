"""What the tests of the portal share: somebody who is logged in, and what a browser gets."""

from lxml import html
from odoo.tests import HttpCase, new_test_user

from .. import after_commit
from .common import UNREACHABLE, DuragenCase


class PortalCase(HttpCase, DuragenCase):
    """Somebody who is logged in at /my/images."""

    def setUp(self):
        """A portal user with ten credits."""
        super().setUp()
        # No call of a start: nothing listens there.
        after_commit._quiet_until.clear()
        self.set_up(gateway_url=UNREACHABLE)
        self.env["duragen.ai.model"].search([]).filtered(
            lambda model: model not in self.cheap | self.full
        ).active = False
        quiet = {"no_reset_password": True}
        self.user = new_test_user(self.env, "portal_olga", "base.group_portal", context=quiet)
        self.authenticate("portal_olga", "portal_olga")

    def page(self, path="/my/images"):
        """A page's document."""
        answer = self.url_open(path)
        self.assertEqual(answer.status_code, 200, answer.text[:500])
        return html.fromstring(answer.text)

    def post(self, path, as_script=True, **values):
        """Post a form, as the script or as the browser itself."""
        token = self.page().xpath("//input[@name='csrf_token']/@value")[0]
        self.env.flush_all()
        headers = {"Accept": "application/json", "Accept-Language": "en-US"} if as_script else {}
        return self.opener.post(
            self.base_url() + path, data={"csrf_token": token, **values}, headers=headers
        )

    def said(self, tree, part):
        """The text of the first element of this part."""
        return " ".join(tree.xpath(f"//*[@data-part='{part}']")[0].text_content().split())
