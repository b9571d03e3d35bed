"""Who may do what: roles, companies, the ledger, and what can be called from outside."""

import inspect

from odoo import api
from odoo.exceptions import AccessError, UserError
from odoo.service import model as service
from odoo.tests import TransactionCase, new_test_user, tagged

call_kw = getattr(api, "call_kw", None) or service.call_kw  # Odoo 18, 19

REQUEST, IMAGE, MODEL = "duragen.generation.request", "duragen.generated.image", "duragen.ai.model"
ACCOUNT, ENTRY, QUOTA = "duragen.account", "duragen.credit.entry", "duragen.quota"
LEDGER_MODELS = (REQUEST, IMAGE, ACCOUNT, ENTRY)

# Every method that RPC reaches, each of which checks for itself who calls. A name that is missing
# here is one that any logged-in user could call: begin it with an underscore.
CALLABLE = {
    REQUEST: {
        *("action_submit", "action_cancel", "action_retry", "action_refresh", "action_give_up"),
        *("action_open_workflow", "submit_generation", "apply_event", "portal_values"),
        *("action_erase_words", "action_show_erase_command", "action_erased_there"),
        *("action_follow_up", "action_open_record", "action_try_now", "action_download"),
        *("message_subscribe", "message_notify", "message_post_with_source"),
    },
    ACCOUNT: {"action_erase_words"},
    IMAGE: {"action_download", "image"},
    "duragen.grant.credits": {"action_grant"},
    "duragen.api": {
        *("authenticate", "check", "estimate", "submit", "status", "list_requests", "cancel"),
        *("webhook_create", "webhook_list", "webhook_get", "webhook_update", "webhook_delete"),
        *("webhook_rotate", "webhook_test", "webhook_deliveries", "webhook_redeliver"),
    },
    "duragen.webhook.endpoint": {"action_rotate", "action_show_secret", "action_test"},
    "duragen.webhook.delivery": {"action_redeliver"},
}
OF_THE_ORM = {"create", "write", "unlink", "init", "copy", "copy_data", "default_get", "onchange"}


class SecurityCase(TransactionCase):
    """Two companies; in the first a portal user, two users, an internal user and a manager."""

    @classmethod
    def setUpClass(cls):
        """Users of each kind, a model, and a generation of four of them."""
        super().setUpClass()
        cls.here = cls.env.company
        cls.there = cls.env["res.company"].create({"name": "Elsewhere"})
        cls.portal = cls._user("duragen_portal", "base.group_portal")
        cls.internal = cls._user("duragen_internal", "base.group_user")
        cls.anna = cls._user("duragen_anna", "duragen.group_user")
        cls.bert = cls._user("duragen_bert", "duragen.group_user")
        cls.manager = cls._user("duragen_manager", "duragen.group_manager")
        cls.gateway = cls._user("duragen_gateway", "base.group_user,duragen.group_gateway")
        cls.stranger = cls._user("duragen_stranger", "duragen.group_user", cls.there)
        cls.model = cls.env[MODEL].create(
            {
                "name": "Standard",
                "model_uuid": "5d2f6a7e-58a2-4d55-9f0e-6c1f0a3b7c11",
                "resolutions": "1024x1024",
            }
        )
        cls.of_portal = cls._generation(cls.portal)
        cls.of_anna = cls._generation(cls.anna)
        cls.of_bert = cls._generation(cls.bert)
        cls.of_stranger = cls._generation(cls.stranger)

    @classmethod
    def _user(cls, login, groups, company=None):
        company = company or cls.env.company
        companies = {"company_id": company.id, "company_ids": [(6, 0, company.ids)]}
        return new_test_user(cls.env, login, groups, **companies)

    @classmethod
    def _generation(cls, user):
        """A submitted generation of this user with an image, as `submit_generation` makes it."""
        requests = cls.env[REQUEST].with_user(user).with_company(user.company_id)
        made = requests.submit_generation({"prompt": "a lighthouse", "model_id": cls.model.id})
        cls.env[IMAGE].create(
            {
                "request_id": made.id,
                "format": "png",
                "size": 3,
                "width": 1024,
                "height": 1024,
                "sha256": "0" * 64,
                "data": b"aGkh",
            }
        )
        return made.sudo()

    def _as(self, model, user):
        return (
            self.env[model].with_user(user).with_context(allowed_company_ids=user.company_ids.ids)
        )

    def _seen(self, model, user):
        return self._as(model, user).search([]).mapped("user_id")


@tagged("post_install", "-at_install")
class TestReading(SecurityCase):
    """Who sees what."""

    def test_everybody_sees_what_is_his_own(self):
        """A portal user and a user see their own generations, images, account and entries alone."""
        for user in (self.portal, self.anna, self.stranger):
            for model in LEDGER_MODELS:
                with self.subTest(user=user.login, model=model):
                    self.assertEqual(self._seen(model, user), user)

    def test_an_internal_user_without_a_group_sees_nothing_of_others(self):
        """He has no records of his own, so he sees none."""
        for model in LEDGER_MODELS:
            with self.subTest(model=model):
                self.assertFalse(self._seen(model, self.internal))

    def test_others_are_refused_by_id(self):
        """Knowing a database id opens nothing."""
        for user in (self.portal, self.bert, self.internal, self.gateway):
            for record in (
                self.of_anna,
                self.of_anna.image_ids,
                self.of_anna.entry_ids,
                self.of_anna.entry_ids.account_id,
            ):
                with self.subTest(user=user.login, model=record._name):
                    record.invalidate_recordset()
                    with self.assertRaises(AccessError):
                        record.with_user(user).read(["user_id"])

    def test_a_manager_sees_all_of_his_companies(self):
        """All users of the company that he works in, and none of another company."""
        for model in LEDGER_MODELS:
            with self.subTest(model=model):
                seen = self._seen(model, self.manager)
                self.assertLessEqual(self.portal | self.anna | self.bert, seen)
                self.assertNotIn(self.stranger, seen)

    def test_a_manager_of_both_companies_chooses(self):
        """What he sees follows the companies that are ticked in the bar."""
        self.manager.company_ids = self.here | self.there
        requests = self.env[REQUEST].with_user(self.manager)
        both = requests.with_context(allowed_company_ids=(self.here | self.there).ids)
        one = requests.with_context(allowed_company_ids=self.there.ids)
        self.assertIn(self.of_stranger, both.search([]))
        self.assertIn(self.of_anna, both.search([]))
        self.assertEqual(one.search([]), self.of_stranger)

    def test_the_public_sees_nothing(self):
        """Without a login there is no access to any model."""
        public = self.env.ref("base.public_user")
        for model in (*LEDGER_MODELS, MODEL, QUOTA):
            with self.subTest(model=model), self.assertRaises(AccessError):
                self.env[model].with_user(public).search([])

    def test_what_is_for_operators_is_not_read_by_users(self):
        """Error details, the event and what Duragen said are for managers."""
        names = ("error_message", "start_error", "progress_note", "event")
        for name in names:
            with self.subTest(field=name):
                with self.assertRaises(AccessError):
                    self.of_anna.with_user(self.anna).read([name])
                self.of_anna.with_user(self.manager).read([name])

    def test_a_model_of_another_company_is_not_offered(self):
        """A model with companies is seen there alone, one without everywhere."""
        theirs = self.model.copy(
            {
                "model_uuid": "7f0c9a52-3c1e-4a77-9a54-0f5b8f1d2a10",
                "company_ids": [(6, 0, self.there.ids)],
            }
        )
        self.assertEqual(self._as(MODEL, self.anna).search([]) & (theirs | self.model), self.model)
        self.assertIn(theirs, self._as(MODEL, self.stranger).search([]))

    def test_a_user_sees_the_quotas_that_hold_for_him(self):
        """Everybody's and his own, not another's."""
        quotas = self.env[QUOTA].create(
            [
                {"limit": 5},
                {"limit": 6, "user_id": self.anna.id},
                {"limit": 7, "user_id": self.bert.id},
            ]
        )
        self.assertEqual(self._as(QUOTA, self.anna).search([]) & quotas, quotas[:2])
        self.assertEqual(self._as(QUOTA, self.manager).search([]) & quotas, quotas)


@tagged("post_install", "-at_install")
class TestWriting(SecurityCase):
    """Who changes what."""

    def _draft(self, user):
        requests = self._as(REQUEST, user)
        return requests.create({"prompt": "a fox", "model_id": self.model.id})

    def test_a_user_makes_changes_and_deletes_his_draft(self):
        """A draft belongs to the user who made it."""
        draft = self._draft(self.anna)
        self.assertEqual(draft.user_id, self.anna)
        draft.write({"prompt": "a red fox"})
        with self.assertRaises(AccessError):
            draft.with_user(self.bert).write({"prompt": "mine"})
        draft.unlink()

    def test_only_users_make_drafts(self):
        """Portal users, internal users without a group and the gateway's user have no drafts."""
        for user in (self.portal, self.internal, self.gateway):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._draft(user)

    def test_no_role_writes_state_price_or_owner(self):
        """Not on a draft of one's own, and not as a manager."""
        draft = self._draft(self.anna)
        for user in (self.anna, self.manager):
            for name, value in {
                "state": "completed",
                "price": 0,
                "charged": False,
                "user_id": self.bert.id,
                "company_id": self.there.id,
                "event": {},
                "request_uuid": "x",
            }.items():
                with self.subTest(user=user.login, field=name), self.assertRaises(UserError):
                    draft.with_user(user).write({name: value})
        with self.assertRaises(UserError):
            self._as(REQUEST, self.anna).create(
                {"prompt": "x", "model_id": self.model.id, "user_id": self.bert.id}
            )

    def test_what_was_submitted_is_neither_changed_nor_deleted(self):
        """Its words are part of the ledger then, for a manager as well."""
        for user in (self.anna, self.manager):
            with self.subTest(user=user.login):
                with self.assertRaises(UserError):
                    self.of_anna.with_user(user).write({"prompt": "another"})
                with self.assertRaises(UserError):
                    self.of_anna.with_user(user).unlink()

    def test_no_role_writes_images_or_accounts(self):
        """No create, write or unlink, for no role."""
        for user in (self.portal, self.anna, self.manager, self.gateway):
            for record in (self.of_anna.image_ids, self.of_anna.entry_ids.account_id):
                self._assert_read_only(record, user)

    def test_the_ledger_is_append_only(self):
        """No role writes it, and not even the superuser changes or deletes a line."""
        entry = self.of_anna.entry_ids
        for user in (self.portal, self.anna, self.manager, self.gateway):
            self._assert_read_only(entry, user)
        with self.assertRaises(UserError):
            entry.write({"delta": 100})
        with self.assertRaises(UserError):
            entry.unlink()

    def _assert_read_only(self, record, user):
        records = record.with_user(user)
        for operation in ("create", "write", "unlink"):
            with self.subTest(user=user.login, model=record._name, operation=operation):
                self.assertFalse(records.has_access(operation))

    def test_models_and_quotas_are_the_managers(self):
        """A user reads them, a manager keeps them."""
        quota = self.env[QUOTA].create({"limit": 5})
        for record in (self.model, quota):
            self._assert_read_only(record, self.anna)
            record.with_user(self.manager).write({"active": False})

    def test_one_acts_on_what_is_ones_own(self):
        """Only the owner and a manager cancel and try again."""
        for user in (self.bert, self.portal, self.internal, self.gateway, self.stranger):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self.of_anna.with_user(user).action_cancel()
        self.of_anna.with_user(self.anna).action_cancel()
        self.assertTrue(self.of_anna.cancel_requested)
        self.of_bert.with_user(self.manager).action_cancel()
        self.assertTrue(self.of_bert.cancel_requested)

    def test_a_portal_user_acts_on_his_own(self):
        """The portal's buttons call these very methods."""
        self.of_portal.with_user(self.portal).action_cancel()
        self.assertTrue(self.of_portal.cancel_requested)

    def test_settings_are_read_by_administrators_alone(self):
        """Odoo's own method would give every secret to whoever calls it."""
        self.env["ir.config_parameter"].set_param("duragen.signing_secret", "whsec_secret")
        wanted = ["duragen_signing_secret", "duragen_gateway_key", "duragen_start_path"]
        for user in (self.portal, self.internal, self.anna, self.manager, self.gateway):
            settings = self.env["res.config.settings"].with_user(user)
            with self.subTest(user=user.login):
                self.assertEqual(settings.default_get(wanted), {})
        found = self.env["res.config.settings"].default_get(wanted)
        self.assertEqual(found["duragen_signing_secret"], "whsec_secret")


@tagged("post_install", "-at_install")
class TestCalling(SecurityCase):
    """What can be called from outside."""

    def test_only_what_checks_its_caller_can_be_called(self):
        """RPC reaches every public method of a model, whoever is logged in."""
        for name in self.env.registry:
            if not name.startswith("duragen."):
                continue
            allowed = CALLABLE.get(name, set()) | OF_THE_ORM
            with self.subTest(model=name):
                self.assertFalse(_public_methods(self.env[name]) - allowed)
                self.assertFalse(CALLABLE.get(name, set()) - _public_methods(self.env[name]))

    def test_a_submission_over_rpc_returns_the_id(self):
        """Records cannot be sent; Odoo 18 would send their names."""
        vals = {"prompt": "a lighthouse", "model_id": self.model.id}
        [made] = call_kw(self._as(REQUEST, self.anna), "submit_generation", [vals], {})
        self.assertEqual(self.env[REQUEST].browse(made).user_id, self.anna)

    def test_outcomes_are_delivered_by_the_gateway_alone(self):
        """Not by a user, not by a portal user; the gateway's user needs no other rights for it."""
        event = {"requestId": self.of_anna.request_uuid}
        for user in (self.portal, self.anna, self.internal):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._as(REQUEST, user).apply_event(event)
        with self.assertRaises(UserError) as raised:
            self._as(REQUEST, self.gateway).apply_event(event)
        self.assertNotIsInstance(raised.exception, AccessError)

    def test_api_users_are_served_by_the_gateway_alone(self):
        """Whoever else calls duragen.api is refused before the key is looked at."""
        for user in (self.portal, self.anna, self.manager):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._as("duragen.api", user).authenticate("any")
        answer = self._as("duragen.api", self.gateway).authenticate("any")
        self.assertEqual(answer["httpStatus"], 401)

    def test_the_administrator_is_a_manager(self):
        """Who may change Odoo's settings may manage Duragen; a manager may not change settings."""
        admin = self._user("duragen_admin", "base.group_system")
        self.assertTrue(admin.has_group("duragen.group_manager"))
        self.assertFalse(self.manager.has_group("base.group_system"))


@tagged("post_install", "-at_install")
class TestGranting(SecurityCase):
    """The wizard that grants credits."""

    def _grant(self, user, **values):
        vals = {"user_id": self.anna.id, "company_id": self.here.id, "credits": 7, **values}
        return self._as("duragen.grant.credits", user).create(vals)

    def test_a_manager_grants(self):
        """The balance grows by what was granted, and the entry says who and why."""
        account = self.of_anna.entry_ids.account_id
        before = account.balance
        grant = self._grant(self.manager, note="for the catalogue")
        self.assertEqual((grant.balance, grant.balance_after), (before, before + 7))
        action = grant.action_grant()
        self.assertEqual(action["res_id"], account.id)
        self.assertEqual(account.balance, before + 7)
        entry = account.entry_ids.filtered(lambda each: each.note == "for the catalogue")
        self.assertEqual((entry.kind, entry.delta), ("grant", 7))
        self.assertEqual(entry.create_uid, self.manager)

    def test_an_account_is_opened_by_a_grant(self):
        """Also for a user who never asked for an image; he also gets what a user begins with."""
        grant = self._grant(self.manager, user_id=self.internal.id)
        begins_with = grant.balance
        grant.action_grant()
        account = self.env[ACCOUNT].search([("user_id", "=", self.internal.id)])
        self.assertEqual(account.balance, begins_with + 7)
        self.assertEqual(account.balance, sum(account.entry_ids.mapped("delta")))

    def test_credits_can_be_taken_away_but_not_below_nothing(self):
        """A correction is a negative grant."""
        account = self.of_anna.entry_ids.account_id
        self._grant(self.manager, credits=-account.balance).action_grant()
        self.assertEqual(account.balance, 0)
        for wrong in (-1, 0):
            with self.subTest(credits=wrong), self.assertRaises(UserError):
                self._grant(self.manager, credits=wrong).action_grant()

    def test_a_manager_grants_in_his_companies_alone(self):
        """Another company's accounts are not his."""
        with self.assertRaises(UserError):
            self._grant(
                self.manager, user_id=self.stranger.id, company_id=self.there.id
            ).action_grant()

    def test_only_managers_grant(self):
        """The wizard belongs to managers."""
        for user in (self.portal, self.anna, self.gateway):
            with self.subTest(user=user.login), self.assertRaises(AccessError):
                self._grant(user)


def _public_methods(model):
    """The names that the addon's own classes add to a model and that RPC would call."""
    found = set()
    for cls in type(model).mro():
        if cls.__module__.startswith("odoo.addons.duragen."):
            found |= {
                name
                for name, value in vars(cls).items()
                if inspect.isfunction(inspect.unwrap(value) if callable(value) else value)
                and not name.startswith("_")
                and not getattr(value, "_api_private", False)
            }
    return found
