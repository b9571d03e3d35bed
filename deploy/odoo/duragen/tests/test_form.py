"""The backend's form: it offers what the model takes, and says what it costs before it is paid."""

from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from ..exceptions import PriceError
from .common import CREDITS, DuragenCase

REQUEST = "duragen.generation.request"


@tagged("post_install", "-at_install")
class TestForm(DuragenCase):
    """A draft on the form."""

    @classmethod
    def setUpClass(cls):
        """The two models come before those of the demo data."""
        super().setUpClass()
        cls.cheap.sequence, cls.full.sequence = -2, -1

    def _form(self, user=None):
        return Form(self.env[REQUEST].with_user(user or self.anna))

    def test_the_model_is_the_first_and_then_the_last_used(self):
        """Another user's choice says nothing, and an archived model is none."""
        self.assertEqual(self._form().model_id, self.cheap)
        self.asks(model_id=self.full.id)
        self.assertEqual(self._form().model_id, self.full)
        self.assertEqual(self._form(self.bert).model_id, self.cheap)
        self.full.active = False
        self.assertEqual(self._form().model_id, self.cheap)

    def test_it_offers_what_the_model_takes(self):
        """Parameters, bounds and sizes follow the model."""
        form = self._form()
        taken = ("allow_negative_prompt", "allow_seed", "allow_steps", "allow_cfg_scale")
        self.assertEqual([form[name] for name in taken], [False] * 4)
        with self.assertRaisesRegex(AssertionError, "invisible"):
            form.negative_prompt = "rain"
        form.model_id = self.full
        self.assertEqual([form[name] for name in taken], [True] * 4)
        self.assertEqual(form.max_steps, 30)
        sizes = [(each["value"], each["name"], each["ratio"]) for each in form.size_choices]
        self.assertEqual(sizes, [("1024x1024", "Square", 1), ("1536x1024", "Landscape", 1.5)])
        self.assertEqual(form.size_choices[1]["pixels"], "1536\u00a0\u00d7\u00a01024")

    def test_what_the_next_model_does_not_take_is_gone(self):
        """Hidden and sent all the same, it would be refused."""
        form = self._form()
        form.prompt, form.model_id = "a fox", self.full
        form.negative_prompt, form.seed, form.inference_steps = "rain", "7", 20
        form.resolution = "1536x1024"
        form.model_id = self.cheap
        made = form.save()
        self.assertEqual((made.negative_prompt, made.seed, made.inference_steps), (False, False, 0))
        self.assertEqual(made.resolution, "1024x1024")
        made.action_submit()
        self.assertEqual(made.state, "requested")

    def test_price_and_balance_stand_on_the_button(self):
        """Of the one who asks; 0 is a number too."""
        form = self._form()
        self.assertEqual(form.submit_label, "Generate · 2 credits · you have 10")
        self.assertFalse(form.shortage)
        form.model_id = self.full
        self.assertEqual(form.submit_label, "Generate · 3 credits · you have 10")
        self.grant(self.anna, 1 - CREDITS)
        self.cheap.price = 1
        self.assertEqual(self._form().submit_label, "Generate · 1 credit · you have 1")
        self.grant(self.anna, -1)
        form = self._form()
        self.assertEqual(form.submit_label, "Generate · 1 credit · you have 0")
        self.assertIn("you have 0", form.shortage)
        self.cheap.price = 0
        form = self._form()
        self.assertEqual(form.submit_label, "Generate · free · you have 0")
        self.assertFalse(form.shortage)

    def test_a_higher_price_than_the_form_showed_is_refused(self):
        """Nothing is charged; a lower one is taken, and so is a caller who showed none."""
        draft = self.draft()
        self.cheap.price = 3
        with self.assertRaises(PriceError) as raised:
            draft.with_context(shown_price=2).action_submit()
        self.assertIn("it is now 3 credits", str(raised.exception))
        self.assertEqual((draft.state, self.balance()), ("draft", CREDITS))
        draft.with_context(shown_price=3).action_submit()
        self.assertEqual(self.balance(), CREDITS - 3)
        lower, silent = self.draft(), self.draft()
        self.cheap.price = 1
        lower.with_context(shown_price=3).action_submit()
        silent.action_submit()
        self.assertEqual(self.balance(), CREDITS - 5)

    def test_trying_again_holds_the_price_on_the_button(self):
        """As the portal does."""
        made = self.asks()
        self.deliver(self.failed(made))
        anna = made.with_user(self.anna).sudo(False)
        self.assertEqual(anna.retry_label, "Try Again · 2 credits")
        self.cheap.price = 3
        with self.assertRaises(PriceError):
            anna.with_context(shown_price=2).action_retry()
        again = self.requests.browse(anna.with_context(shown_price=3).action_retry()["res_id"])
        self.assertEqual(again.price, 3)

    def test_a_form_says_nothing_of_others(self):
        """Whoever is named in it; and who may not open it is not answered at all."""
        values = {"user_id": self.anna.id, "state": "draft", "model_id": self.cheap.id}
        asked = [values, ["user_id"], {"balance": {}, "submit_label": {}}]
        shown = self.requests.with_user(self.bert).sudo(False).onchange(*asked)["value"]
        self.assertFalse(shown.get("balance"))
        own = self.requests.with_user(self.anna).sudo(False).onchange(*asked)["value"]
        self.assertEqual(own["balance"], CREDITS)
        guest = new_test_user(self.env, "core_guest", "base.group_portal")
        for model, spec in {
            "duragen.generation.request": {"balance": {}},
            "duragen.grant.credits": {"balance": {}},
            "duragen.copy.settings": {"secret": {}, "block": {}},
            "duragen.generated.image": {"prompt": {}},
        }.items():
            with self.subTest(model), self.assertRaises(AccessError):
                self.env[model].with_user(guest).sudo(False).onchange({}, [], spec)

    def test_what_is_free_can_be_had_with_less_than_nothing(self):
        """A late image may have led there; and a grant need not lead out of it."""
        self.grant(self.anna, -CREDITS)
        account = self.env["duragen.account"]._of(self.anna, self.env.company)
        account._book("capture", -3)
        self.cheap.price = 0
        self.assertFalse(self._form().shortage)
        self.assertEqual(self.asks().state, "requested")
        self.grant(self.anna, 1)
        self.assertEqual(self.balance(), -2)

    def test_there_is_a_download_when_there_is_an_image(self):
        """Also from the image's own form; pixels are no thousands."""
        made = self.asks()
        anna = made.with_user(self.anna).sudo(False)
        with self.assertRaisesRegex(Exception, "no image"):
            anna.action_download()
        event = self.completed(made)
        event["imageMetadata"].update(width=1024, height=1536)
        self.deliver(event)
        action = anna.action_download()
        self.assertEqual(action["url"], f"/duragen/image/{made.image_id.id}?download=1")
        self.assertEqual(anna.image_id.dimensions, "1024\u00a0\u00d7\u00a01536")

    def test_the_state_has_its_colour_in_the_calendar(self):
        """Not the model."""
        made = self.asks()
        waiting = made.color
        self.deliver(self.completed(made))
        self.assertNotEqual(made.color, waiting)


@tagged("post_install", "-at_install")
class TestTakenBack(DuragenCase):
    """A grant of less than nothing."""

    def test_it_is_no_grant(self):
        """The ledger says what it was."""
        self.asks()
        self.grant(self.anna, -3)
        self.grant(self.anna, 4)
        account = self.env["duragen.account"].search([("user_id", "=", self.anna.id)])
        said = account.entry_ids.sorted("id").mapped("kind_shown")
        self.assertEqual(said, ["Grant", "Reservation", "Taken back", "Grant"])
