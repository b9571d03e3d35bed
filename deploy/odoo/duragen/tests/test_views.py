"""Every view loads for those who have its menu, and every menu leads somewhere."""

from odoo.tests import Form, TransactionCase, new_test_user, tagged


@tagged("post_install", "-at_install")
class TestViews(TransactionCase):
    """Menus, actions and views, by role."""

    def _menus(self, user):
        data = self.env["ir.model.data"].search(
            [("module", "=", "duragen"), ("model", "=", "ir.ui.menu")]
        )
        visible = self.env["ir.ui.menu"].with_user(user)._visible_menu_ids()

        def seen(menu):
            return not menu or (menu.id in visible and seen(menu.parent_id))

        return self.env["ir.ui.menu"].browse(data.mapped("res_id")).filtered(seen)

    def _open(self, user):
        names = set()
        for menu in self._menus(user).filtered("action"):
            action = menu.action
            views = [(False, mode) for mode in action.view_mode.split(",")]
            model = self.env[action.res_model].with_user(user)
            with self.subTest(user=user.login, action=action.name):
                loaded = model.get_views([*views, (action.search_view_id.id, "search")])
                self.assertLessEqual({mode for _id, mode in views}, loaded["views"].keys())
            names.add(menu.name)
        return names

    def test_a_user_opens_what_he_has(self):
        """His generations, images and credits; nothing to configure."""
        user = new_test_user(self.env, "duragen_views_user", "duragen.group_user")
        names = {"My Generations", "Images", "Accounts", "Entries", "Webhooks"}
        self.assertEqual(self._open(user), names)

    def test_a_manager_opens_everything_but_settings(self):
        """Settings are an administrator's."""
        user = new_test_user(self.env, "duragen_views_manager", "duragen.group_manager")
        names = self._open(user)
        self.assertLessEqual({"All Generations", "Analysis", "Models", "Quotas"}, names)
        self.assertNotIn("Settings", names)

    def test_others_have_no_menu(self):
        """Internal users without a group use the portal's pages."""
        user = new_test_user(self.env, "duragen_views_internal", "base.group_user")
        self.assertFalse(self._menus(user))

    def test_a_user_writes_a_draft_on_the_form(self):
        """What the form sends is what a user may write."""
        model = self.env["duragen.ai.model"].create(
            {
                "name": "Wide",
                "model_uuid": "5d2f6a7e-58a2-4d55-9f0e-6c1f0a3b7c11",
                "resolutions": "1344x768\n1152x896",
            }
        )
        user = new_test_user(self.env, "duragen_views_form", "duragen.group_user")
        with Form(self.env["duragen.generation.request"].with_user(user)) as form:
            form.prompt = "a lighthouse"
            form.model_id = model
            self.assertEqual(form.resolution, "1344x768")
            self.assertEqual(form.aspect_ratio, "7:4")
        self.assertEqual(form.record.user_id, user)

    def test_a_manager_keeps_models_and_quotas_on_their_forms(self):
        """Likewise for what a manager configures."""
        user = new_test_user(self.env, "duragen_views_keeper", "duragen.group_manager")
        with Form(self.env["duragen.ai.model"].with_user(user)) as form:
            form.name = "Fine"
            form.model_uuid = "7f0c9a52-3c1e-4a77-9a54-0f5b8f1d2a10"
        with Form(self.env["duragen.quota"].with_user(user)) as form:
            form.limit = 3
        self.assertEqual(form.record.limit, 3)
