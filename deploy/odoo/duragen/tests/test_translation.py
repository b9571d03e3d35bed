"""A German user gets German texts, and none is left out."""

import polib
from odoo.exceptions import ValidationError
from odoo.tests import TransactionCase, new_test_user, tagged
from odoo.tools import file_path
from odoo.tools.translate import TranslationModuleReader

LANGUAGE = "de_DE"


@tagged("post_install", "-at_install")
class TestTranslation(TransactionCase):
    """i18n/de.po, complete and at work."""

    @classmethod
    def setUpClass(cls):
        """German, and somebody who has chosen it."""
        super().setUpClass()
        cls.env["res.lang"]._activate_lang(LANGUAGE)
        cls.env["ir.module.module"]._load_module_terms(["duragen"], [LANGUAGE])
        cls.german = new_test_user(cls.env, "duragen_german", "duragen.group_user", lang=LANGUAGE)

    def _requests(self):
        return (
            self.env["duragen.generation.request"]
            .with_user(self.german)
            .with_context(lang=LANGUAGE)
        )

    def test_every_text_has_a_translation(self):
        """What the addon says now stands in the template, and in German.

        When this fails: export the template again (docs/odoo.md, Translations) and translate.
        """
        template = polib.pofile(file_path("duragen/i18n/duragen.pot"))
        german = polib.pofile(file_path("duragen/i18n/de.po"))
        said = {
            row[4]
            for row in TranslationModuleReader(self.env.cr, modules=["duragen"])
            if not row[2].startswith("duragen.ai.model,")  # the catalogue's own words
        }
        self.assertEqual(sorted(said - {entry.msgid for entry in template}), [])
        translated = {entry.msgid for entry in german if entry.msgstr and not entry.fuzzy}
        self.assertEqual(sorted(said - translated), [])

    def test_states_and_fields_are_german(self):
        """Labels come from the fields."""
        fields = self._requests().fields_get(["state", "model_id"])
        self.assertEqual(dict(fields["state"]["selection"])["started"], "Wird erzeugt")
        self.assertEqual(fields["model_id"]["string"], "Modell")

    def test_views_and_menus_are_german(self):
        """Buttons, help for empty lists, menus."""
        view = self.env.ref("duragen.generation_request_view_form").with_context(lang=LANGUAGE)
        self.assertIn("Absenden", self._requests().get_view(view.id, "form")["arch"])
        action = self.env.ref("duragen.generation_request_action").with_context(lang=LANGUAGE)
        self.assertIn("Erzeugen Sie das erste Bild", str(action.help))
        menu = self.env.ref("duragen.menu_generations").with_context(lang=LANGUAGE)
        self.assertEqual(menu.name, "Generierungen")

    def test_refusals_are_german(self):
        """Texts that the code makes, with their values filled in."""
        model = self.env["duragen.ai.model"].create(
            {
                "name": "Standard",
                "model_uuid": "5d2f6a7e-58a2-4d55-9f0e-6c1f0a3b7c11",
                "resolutions": "1024x1024",
            }
        )
        with self.assertRaises(ValidationError) as raised:
            self._requests().submit_generation(
                {"prompt": "ein Fuchs", "model_id": model.id, "resolution": "10x10"}
            )
        self.assertIn("Standard erzeugt keine Bilder in 10x10.", str(raised.exception))

    def test_messages_of_failures_are_german(self):
        """Duragen delivers them in English; the user reads them in his language."""
        model = self.env["duragen.ai.model"].create(
            {"name": "Standard", "model_uuid": "5d2f6a7e-58a2-4d55-9f0e-6c1f0a3b7c11"}
        )
        made = self._requests().submit_generation({"prompt": "ein Fuchs", "model_id": model.id})
        made.sudo().apply_event(
            {
                "requestId": made.request_uuid,
                "correlationId": made.correlation_uuid,
                "status": "failed",
                "errorCode": "RATE_LIMITED",
                "errorMessage": "429",
                "errorType": "system",
                "userMessage": "The image service is busy at the moment."
                " Please try again in a few minutes.",
            }
        )
        self.assertIn("ausgelastet", made.portal_values()["userMessage"])

    def test_an_activity_is_in_the_language_of_its_manager(self):
        """A cron makes it, which has no language of its own."""
        groups = "duragen.group_manager"
        manager = new_test_user(self.env, "duragen_german_manager", groups, lang=LANGUAGE)
        since = {"began_at": "2026-01-01 00:00:00", "waiting": 3, "last_error": "x"}
        trouble = self.env["duragen.start.trouble"].create(since)
        trouble._ask_manager()
        activity = trouble.activity_ids
        self.assertEqual(activity.user_id, manager)
        self.assertEqual(activity.summary, "Generierungen werden nicht gestartet")
        self.assertIn("es warten 3", activity.note)
