"""/my/credits: the ledger, the quotas, and the way to more."""

from odoo.exceptions import UserError
from odoo.tests import new_test_user, tagged

from ..exceptions import PriceError, QuotaError
from ..wording import duration
from .common import CREDITS, PAID, REFUSED
from .portal_case import PortalCase


@tagged("post_install", "-at_install")
class TestPortalCredits(PortalCase):
    """One's own account, in words."""

    def rows(self):
        """The ledger's cells as texts."""
        tree = self.page("/my/credits")
        return [
            [" ".join(cell.text_content().split()) for cell in row.xpath("td")][1:]
            for row in tree.xpath("//table/tbody/tr")
        ]

    def test_the_ledger(self):
        """Each entry with its image, its effect and the balance after it; nobody else's."""
        self.asks(self.anna, prompt="not yours")
        made = self.asks(self.user, prompt="a fox")
        self.deliver(self.failed(made))
        self.assertEqual(
            self.rows(),
            [
                ["Given back a fox", "+2", "10"],
                ["Held for an image a fox", "-2", "8"],
                ["Granted Welcome", "+10", "10"],
            ],
        )
        links = self.page("/my/credits").xpath("//table//a/@href")
        self.assertEqual(links, [f"/my/images/{made.id}"] * 2)

    def test_an_image_is_one_line(self):
        """That its hold became final moves nothing; why a cancellation is charged is said."""
        done, late, canceled = (self.asks(self.user, prompt=name) for name in ("a", "b", "c"))
        self.deliver(self.completed(done))
        self.deliver(self.failed(late))
        self.deliver(self.completed(late))
        canceled.with_user(self.user).sudo(False).action_cancel()
        self.deliver(self.failed(canceled, PAID))
        self.assertEqual(
            [row[0].split(" Cancel")[0] for row in self.rows()],
            [
                "Charged, from what was held c",
                "Charged b",
                "Given back b",
                "Held for an image c",
                "Held for an image b",
                "Charged for an image a",
                "Granted Welcome",
            ],
        )
        self.assertEqual(self.rows()[0][1:], ["0", "4"])

    def test_a_line_promises_no_image_where_there_is_none(self):
        """Neither for a refused prompt that is charged, nor for what was given back."""
        self.set_up(user_errors="capture")
        refused = self.asks(self.user, prompt="a")
        self.deliver(self.failed(refused, REFUSED))
        self.assertEqual([row[0] for row in self.rows()][:-1], ["Charged a"])

    def test_its_pages(self):
        """The balance goes on where the page before ended; a page beyond the last is the last."""
        for number in range(25):
            self.grant(self.user, number + 1)
        first = self.rows()
        self.assertEqual(len(first), 20)
        tree = self.page("/my/credits/page/2")
        after = tree.xpath("//table/tbody/tr/td[4]/text()")
        self.assertEqual(after[0], str(int(first[-1][2]) - int(first[-1][1])))
        self.page("/my/credits/page/999999999999")

    def test_quotas_in_words(self):
        """What is used, and when there is room again."""
        self.env["duragen.quota"].create({"user_id": self.user.id, "period": "day", "limit": 1})
        self.asks(self.user)
        text = self.page("/my/credits").xpath("//ul[@aria-label='Your quota of images']/li")[0]
        self.assertRegex(text.text_content(), r"^1 of 1 today, new in \d+ (hour|minute|second)s?$")
        with self.assertRaisesRegex(QuotaError, r"There is room again in \d+ \w+\."):
            self.asks(self.user)

    def test_spans_of_time(self):
        """The largest unit, rounded up: what is promised is true by then."""
        said = {1: "1 second", 59: "59 seconds", 60: "1 minute", 61: "2 minutes"}
        said |= {3_600: "1 hour", 10_800: "3 hours", 86_400: "1 day", 86_401: "2 days"}
        for seconds, text in said.items():
            self.assertEqual(duration(self.env, seconds), text)

    def test_asking_for_more(self):
        """One activity for a manager, until credits are granted; without a script too."""
        accounts = self.env["duragen.account"]
        answer = self.post("/my/credits/ask")
        self.assertIn("has been asked", answer.json()["message"])
        again = self.post("/my/credits/ask")
        self.assertIn("asked already", again.json()["message"])
        self.assertEqual(self.post("/my/credits/ask", as_script=False).status_code, 200)
        account = accounts.search([("user_id", "=", self.user.id)])
        activity = account.activity_ids
        self.assertEqual(len(activity), 1)
        self.assertEqual(activity.user_id, account._granter())
        self.assertTrue(activity.user_id.has_group("duragen.group_manager"))
        self.assertIn("You have asked for more", self.page("/my/credits").text_content())
        self.grant(self.user, 5)
        self.assertFalse(account.activity_ids)
        self.assertNotIn("You have asked for more", self.page("/my/credits").text_content())

    def test_a_manager_of_that_company_is_asked(self):
        """Not one who works in another; nobody at all is said."""
        elsewhere = self.env["res.company"].create({"name": "Elsewhere"})
        other = new_test_user(
            self.env,
            "credits_other",
            "duragen.group_manager",
            company_id=elsewhere.id,
            company_ids=[(6, 0, elsewhere.ids)],
        )
        account = self.env["duragen.account"]._of(self.user, self.env.company)
        self.assertNotEqual(account._granter(), other)
        there = self.env["duragen.account"]._of(self.user, elsewhere)
        self.assertEqual(there._granter(), other)
        other.active = False
        with self.assertRaisesRegex(UserError, "nobody here"):
            there._ask_for_credits(self.user, elsewhere)

    def test_nothing_left_has_a_way_out(self):
        """The form says what is missing and offers to ask."""
        self.set_up(initial_credits=0)
        tree = self.page()
        self.assertIn("not enough", self.said(tree, "reckoning"))
        [ask] = tree.xpath("//button[@data-part='ask']")
        self.assertIsNone(ask.get("hidden"))
        self.assertEqual(ask.get("formaction"), "/my/credits/ask")

    def test_without_the_type_of_activity(self):
        """Somebody has deleted it: pages and grants go on."""
        self.env.ref("duragen.activity_credits").unlink()
        self.page()
        self.grant(self.user, 1)
        with self.assertRaises(UserError):
            accounts = self.env["duragen.account"]
            accounts._ask_for_credits(self.user, self.env.company)

    def test_the_price_that_was_shown(self):
        """By the model's own method: what is higher is refused, what is no number too."""
        vals = {"prompt": "a fox", "model_id": self.cheap.id}
        requests = self.requests.with_user(self.user).sudo(False)
        with self.assertRaises(PriceError):
            requests.submit_generation(vals, shown_price=1)
        with self.assertRaisesRegex(UserError, "shown_price"):
            requests.submit_generation(vals, shown_price="1")
        self.assertEqual(self.balance(self.user), CREDITS)
        self.assertEqual(requests.submit_generation(vals, shown_price=5).price, 2)
