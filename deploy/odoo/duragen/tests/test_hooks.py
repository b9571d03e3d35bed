"""What installing and uninstalling do beyond Odoo's own part."""

from odoo.tests import tagged

from ..hooks import uninstall_hook
from .common import DuragenCase


@tagged("post_install", "-at_install")
class TestHooks(DuragenCase):
    """The groups' places, and what is taken away."""

    def test_the_groups_have_a_place_on_the_form_of_a_user(self):
        """Without one an administrator sees them only in developer mode."""
        place = "category_id" if "category_id" in self.env["res.groups"]._fields else "privilege_id"
        for name, where in {
            "user": "Duragen",
            "manager": "Duragen",
            "gateway": "Duragen (technical)",
        }.items():
            self.assertEqual(self.env.ref(f"duragen.group_{name}")[place].name, where)

    def test_uninstalling_leaves_no_image_behind(self):
        """Odoo would keep the files of a table that is gone."""
        made = self.asks()
        self.deliver(self.completed(made))
        owned = [("res_model", "=", "duragen.generated.image"), ("res_field", "!=", False)]
        self.assertTrue(self.env["ir.attachment"].search(owned))
        uninstall_hook(self.env)
        self.assertFalse(self.env["ir.attachment"].search(owned))

    def test_uninstalling_leaves_no_secret_behind(self):
        """Odoo keeps parameters that no data file has made; those of others stay."""
        parameters = self.env["ir.config_parameter"].sudo()
        self.set_up(callback_base_url="x", gateway_key="dk_x")
        parameters.set_param("duragenesis.key", "another's")
        uninstall_hook(self.env)
        self.assertFalse(parameters.search([("key", "=like", "duragen.%")]))
        self.assertEqual(parameters.get_param("duragenesis.key"), "another's")
