"""The addon's page of Odoo's settings."""

from odoo.exceptions import AccessError, UserError
from odoo.tests import TransactionCase, new_test_user, tagged

from ..models.connection import DEFAULTS
from ..signatures import key_of


@tagged("post_install", "-at_install")
class TestSettings(TransactionCase):
    """What is entered is kept, and what is kept is tried."""

    def _settings(self, **values):
        return self.env["res.config.settings"].create(values)

    def _kept(self, name):
        return self.env["ir.config_parameter"].get_param(f"duragen.{name}")

    def test_every_setting_has_its_field(self):
        """A parameter without a field cannot be set on the page."""
        fields = self.env["res.config.settings"]._fields
        for name in DEFAULTS:
            with self.subTest(setting=name):
                field = fields.get(f"duragen_{name}")
                self.assertEqual(getattr(field, "config_parameter", None), f"duragen.{name}")

    def test_every_setting_is_on_the_page(self):
        """A field that the view lacks could not be entered."""
        arch = self.env["res.config.settings"].get_view(view_type="form")["arch"]
        for name in DEFAULTS:
            with self.subTest(setting=name):
                self.assertIn(f'name="duragen_{name}"', arch)

    def test_secrets_are_not_shown(self):
        """The page shows dots where a secret stands."""
        view = self.env.ref("duragen.res_config_settings_view_form")
        for name in (
            *("temporal_api_key", "gateway_key", "callback_token"),
            *("signing_secret", "s3_secret_access_key", "alertmanager_token"),
            *("previous_callback_token", "previous_signing_secret", "rabbitmq_url"),
        ):
            with self.subTest(setting=name):
                self.assertIn(f'name="duragen_{name}" password="True"', view.arch_db)

    def test_what_is_not_set_shows_its_default(self):
        """An empty database shows what the addon does."""
        parameters = self.env["ir.config_parameter"]
        for name in DEFAULTS:
            parameters.set_param(f"duragen.{name}", False)
        settings = self._settings()
        self.assertEqual(settings.duragen_temporal_address, "127.0.0.1:7233")
        self.assertEqual(settings.duragen_start_path, "temporal")
        self.assertEqual(settings.duragen_initial_credits, 10)

    def test_what_is_entered_is_kept(self):
        """Text, choice, number and box."""
        self._settings(
            duragen_start_path="gateway",
            duragen_gateway_url="https://duragen.example.com",
            duragen_reconcile_minutes=20,
            duragen_temporal_tls=True,
        ).execute()
        self.assertEqual(self._kept("start_path"), "gateway")
        self.assertEqual(self._kept("gateway_url"), "https://duragen.example.com")
        self.assertEqual(self._kept("reconcile_minutes"), "20")
        self.assertEqual(self._kept("temporal_tls"), "True")

    def test_zero_is_kept(self):
        """No credits to begin with means none, not the default's ten."""
        self._settings(duragen_initial_credits=0).execute()
        self.assertEqual(self._kept("initial_credits"), "0")
        self.assertEqual(self._settings().duragen_initial_credits, 0)

    def test_the_callback_url_is_shown(self):
        """Below Odoo's own address, or below the one that is entered."""
        self.env["ir.config_parameter"].set_param("web.base.url", "https://odoo.example.com")
        settings = self._settings(duragen_callback_base_url=False)
        self.assertEqual(
            settings.duragen_callback_url, "https://odoo.example.com/duragen/v1/callback"
        )
        settings.duragen_callback_base_url = "http://10.0.0.5:8069/"
        settings.invalidate_recordset(["duragen_callback_url"])
        self.assertEqual(settings.duragen_callback_url, "http://10.0.0.5:8069/duragen/v1/callback")

    def test_the_test_says_what_to_do(self):
        """The gateway does not answer and no secret is set: it says both, and raises nothing."""
        self._settings(
            duragen_start_path="gateway",
            duragen_gateway_url="http://127.0.0.1:9",
            duragen_gateway_key="dk_test",
            duragen_callback_token=False,
            duragen_signing_secret=False,
        ).execute()
        shown = self._settings().action_duragen_test()
        self.assertEqual(shown["tag"], "display_notification")
        self.assertEqual(shown["params"]["type"], "danger")
        self.assertTrue(shown["params"]["sticky"])
        self.assertIn("http://127.0.0.1:9", shown["params"]["message"])
        self.assertIn("signing secret", shown["params"]["message"])

    def test_one_of_token_and_secret_suffices(self):
        """A token alone is enough; a secret that is too short fails."""
        parameters = self.env["ir.config_parameter"]
        parameters.set_param("duragen.callback_token", "a token of some length")
        for secret, well in ((False, True), ("short", False)):
            parameters.set_param("duragen.signing_secret", secret)
            self.assertEqual(self.env["duragen.connection"]._test_outcome()[0], well)

    def test_a_previous_secret_is_believed_until_it_is_removed(self):
        """And tried by the test: a previous one that is none would refuse every callback."""
        connection, parameters = self.env["duragen.connection"], self.env["ir.config_parameter"]
        new, old = "bmV3" * 8, "b2xk" * 8
        parameters.set_param("duragen.signing_secret", new)
        parameters.set_param("duragen.previous_signing_secret", old)
        self.assertEqual(connection._in_force("signing_secret"), [new, old])
        self.assertTrue(connection._test_outcome()[0])
        parameters.set_param("duragen.previous_signing_secret", "short")
        self.assertFalse(connection._test_outcome()[0])
        parameters.set_param("duragen.previous_signing_secret", False)
        self.assertEqual(connection._in_force("signing_secret"), [new])

    def test_a_secret_is_made_here(self):
        """Random, saved at once, in the dialog to copy; the one before is believed until then."""
        connection, parameters = self.env["duragen.connection"], self.env["ir.config_parameter"]
        for name, make in (
            ("callback_token", "action_duragen_new_token"),
            ("signing_secret", "action_duragen_new_signing_secret"),
        ):
            with self.subTest(name):
                parameters.set_param(f"duragen.{name}", False)
                parameters.set_param(f"duragen.previous_{name}", False)
                settings = self._settings()
                opened = getattr(settings, make)()
                first = self._kept(name)
                dialog = self.env[opened["res_model"]].browse(opened["res_id"])
                self.assertEqual(dialog.secret, first)
                self.assertIn(f'"{first}"', dialog.block)
                self.assertEqual(connection._in_force(name), [first])
                getattr(settings, make)()
                second = self._kept(name)
                self.assertEqual(connection._in_force(name), [second, first])
                self.assertNotEqual(first, second)
                with self.assertRaises(UserError):
                    getattr(settings, make)()
                settings.execute()  # the page that is still open
                self.assertEqual(connection._in_force(name), [second, first])
        self.assertGreaterEqual(len(key_of(self._kept("signing_secret"))), 24)

    def test_the_table_for_duragen(self):
        """What has its default is left out; an Odoo below a path names its routes."""
        connection, parameters = self.env["duragen.connection"], self.env["ir.config_parameter"]
        for name in DEFAULTS:
            parameters.set_param(f"duragen.{name}", False)
        parameters.set_param("duragen.callback_base_url", "https://odoo.example.com/")
        parameters.set_param("duragen.callback_token", "a-token")
        self.assertEqual(
            connection._odoo_table(),
            '[[odoo]]\norigin = "https://odoo.example.com"\ntoken = "a-token"',
        )
        parameters.set_param("duragen.callback_base_url", "https://example.com/shop")
        parameters.set_param("duragen.outcome_path", "rabbitmq")
        self.assertIn(
            '\ncallback_paths = ["/shop/duragen/v1/callback"]'
            '\nwebhooks_path = "/shop/duragen/v1/webhooks"\ndelivery = "rabbitmq"',
            connection._odoo_table(),
        )

    def test_settings_are_for_administrators(self):
        """A manager neither reads them nor tries them."""
        manager = new_test_user(self.env, "duragen_settings", "duragen.group_manager")
        settings = self.env["res.config.settings"].with_user(manager)
        with self.assertRaises(AccessError):
            settings.create({"duragen_start_path": "gateway"}).execute()
        with self.assertRaises(AccessError):
            settings.action_duragen_test()
        for make in ("new_token", "new_signing_secret", "copy_block"):
            with self.assertRaises(AccessError):
                getattr(settings.sudo().create({}).sudo(False), f"action_duragen_{make}")()
        with self.assertRaises(AccessError):
            self.env["duragen.copy.settings"].with_user(manager).create({}).read(["block"])
