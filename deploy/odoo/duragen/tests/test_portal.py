"""The portal's pages, as a browser without a script gets them, and what the script is sent."""

import json
from urllib.parse import urlencode

from odoo.tests import tagged

from .common import CLOSED, CREDITS, REFUSED
from .portal_case import PortalCase

GERMAN = "de_DE"


@tagged("post_install", "-at_install")
class TestPortal(PortalCase):
    """/my/images."""

    def test_free_with_nothing_left(self):
        """A balance of 0 is 0, and a free model says so and can be asked for."""
        self.cheap.price = 0
        self.set_up(initial_credits=0)
        tree = self.page()
        self.assertEqual(self.said(tree, "balance"), "0 credits")
        form = tree.xpath("//form[@data-part='composer']")[0]
        self.assertEqual(form.get("data-balance"), "0")
        model = form.xpath(f".//input[@name='model_id'][@value='{self.cheap.id}']")[0]
        self.assertEqual(model.get("data-price"), "0")
        self.assertIn("Free", model.getparent().text_content())
        self.assertEqual(self.said(tree, "submit-label"), "Generate · Free")
        self.assertIsNone(form.xpath(".//*[@data-part='submit']")[0].get("disabled"))
        made = self.post(
            "/my/images/submit", prompt="x", model_id=self.cheap.id, **{f"price_{self.cheap.id}": 0}
        )
        self.assertTrue(made.json()["ok"], made.text)

    def test_the_page_has_a_language(self):
        """Scripts take their words by it, and screen readers their voice."""
        self.env["res.lang"]._activate_lang("ar_001")
        self.user.lang = "ar_001"
        self.authenticate("portal_olga", "portal_olga")
        root = self.page()
        self.assertEqual((root.get("lang"), root.get("dir")), ("ar-001", "rtl"))

    def test_a_live_message_has_no_words_of_ours(self):
        """Its facts go to pages in any language."""
        made = self.asks(self.user)
        self.deliver(self.failed(made, REFUSED))
        self.env.cr.precommit.run()
        [row] = self.env["bus.bus"].sudo().search([("message", "like", made.request_uuid)])
        facts = json.loads(row.message)["payload"]
        self.assertEqual((facts["state"], facts["errorCode"]), ("failed", "POLICY_INPUT"))
        self.assertFalse(facts.keys() & {"stateLabel", "stateHint", "userMessage", "model"})

    def test_the_script_is_answered_in_the_pages_language(self):
        """Not in the user's own: a switch of the page's language is of this page alone."""
        self.env["res.lang"]._activate_lang(GERMAN)
        self.env["ir.module.module"]._load_module_terms(["duragen"], [GERMAN])
        made = self.asks(self.user)
        self.deliver(self.failed(made, REFUSED))
        self.env.flush_all()
        url = f"{self.base_url()}/my/images/state?ids={made.id}"
        for tag, said in (("de-DE", "Inhaltsregeln"), ("en-US", "content rules")):
            answer = self.opener.get(url, headers={"Accept-Language": tag})
            [card] = answer.json()["requests"]
            self.assertIn(said, card["message"])

    def test_what_it_cost_is_said_once(self):
        """By the message, or else by the card."""
        for outcome in (CLOSED, REFUSED):
            self.deliver(self.failed(self.asks(self.user), outcome))
        tree = self.page()
        for line in tree.xpath("//ul[@data-part='lines']/li"):
            self.assertEqual(line.text_content().count("Nothing was charged"), 1)

    def test_a_price_that_has_risen_is_not_charged(self):
        """The page was opened before: it is refused, and says the new price."""
        self.cheap.price = 3
        shown = {f"price_{self.cheap.id}": 2}
        values = {"prompt": "x", "model_id": self.cheap.id, **shown}
        answer = self.post("/my/images/submit", **values)
        self.assertEqual(answer.status_code, 409)
        error = answer.json()["error"]
        self.assertEqual((error["price"], error["modelId"]), (3, self.cheap.id))
        self.assertIn("it is now 3 credits. Press the button again to agree.", error["message"])
        self.assertEqual(self.balance(self.user), CREDITS)
        self.cheap.price = 1
        self.assertEqual(self.post("/my/images/submit", **values).json()["balance"], CREDITS - 1)

    def test_a_portal_user_chooses_how_to_hear_of_it(self):
        """On the page, among what is for him; anything else is refused."""
        [form] = self.page().xpath("//form[@id='news']")
        self.assertEqual(form.xpath(".//option/@value"), ["none", "email"])
        self.assertEqual(form.xpath(".//option[@selected]/@value"), ["none"])
        self.assertTrue(self.post("/my/images/news", news="email").json()["ok"])
        self.assertEqual(self.user._duragen_news(), "email")
        for strange in ("activity", "x", ""):
            self.assertEqual(self.post("/my/images/news", news=strange).status_code, 422)
        [chosen] = self.page().xpath("//form[@id='news']//option[@selected]/@value")
        self.assertEqual(chosen, "email")

    def test_more_cards_are_not_more_queries(self):
        """But for those that no page has twice."""

        def queries():
            before = self.env.cr.sql_log_count
            self.page()
            return self.env.cr.sql_log_count - before

        self.grant(self.user, CREDITS)
        for _ in range(2):
            self.deliver(self.completed(self.asks(self.user)))
        self.page()
        few = queries()
        for _ in range(6):
            self.deliver(self.completed(self.asks(self.user)))
        self.assertLessEqual(queries(), few + 2)

    def test_the_balance_leads_to_the_ledger(self):
        """It explains itself."""
        self.assertEqual(
            self.page().xpath("//a[contains(@class, 'o_duragen_balance')]/@href"), ["/my/credits"]
        )

    def test_trying_again_holds_the_shown_price_too(self):
        """The form of the line names it."""
        made = self.asks(self.user)
        self.deliver(self.failed(made))
        [shown] = self.page().xpath("//form[@data-part='retry']/input[@name='shown_price']/@value")[
            :1
        ]
        self.assertEqual(shown, "2")
        self.cheap.price = 3
        answer = self.post(f"/my/images/{made.id}/retry", shown_price=shown)
        self.assertEqual(answer.status_code, 409)
        again = self.post(f"/my/images/{made.id}/retry", shown_price=3)
        self.assertEqual(again.json()["balance"], CREDITS - 3)
        self.assertTrue(made.dismissed)

    def test_the_gallery_has_pictures_first(self):
        """Failures are lines above it until they are dismissed."""
        made, failed = self.asks(self.user), self.asks(self.user, prompt="lost")
        self.deliver(self.completed(made))
        self.deliver(self.failed(failed))
        tree = self.page()
        cards = tree.xpath("//ul[@data-part='grid']/li/@data-id")
        lines = tree.xpath("//ul[@data-part='lines']/li/@data-id")
        self.assertEqual((cards, lines), ([str(made.id)], [str(failed.id)]))
        self.assertTrue(self.post(f"/my/images/{failed.id}/dismiss").json()["ok"])
        self.assertFalse(self.page().xpath("//ul[@data-part='lines']/li"))
        self.assertEqual(failed.state, "failed")

    def test_search_and_favourites(self):
        """By words of the prompt; the star keeps one."""
        fox, owl = self.asks(self.user, prompt="a fox"), self.asks(self.user, prompt="an owl")
        for each in (fox, owl):
            self.deliver(self.completed(each))
        self.post(f"/my/images/{owl.id}/favorite", favorite="1")
        found = "//ul[@data-part='grid']/li/@data-id"
        self.assertEqual(self.page("/my/images?show=favorites").xpath(found), [str(owl.id)])
        self.assertEqual(self.page("/my/images?search=FOX").xpath(found), [str(fox.id)])
        for words in ("%", "\\", "x" * 10_000, "\0", "'); --"):
            self.page(f"/my/images?{urlencode({'search': words})}")

    def test_no_value_of_ours_is_printed_by_the_layout(self):
        """Odoo's layouts read some names too: what they print stands before the page's header."""
        for path in ("/my/images", "/my/credits"):
            [body] = self.page(path).xpath("//body")
            self.assertFalse((body.text or "").strip(), path)
            self.assertNotIn("True", body.text_content())

    def test_filters_are_always_there(self):
        """Also before the first image: the first one comes without a reload."""
        tree = self.page()
        self.assertEqual(len(tree.xpath("//nav[@aria-label='Show']/a")), 4)
        self.assertTrue(tree.xpath("//form[@role='search']"))

    def test_deleting(self):
        """Words and image are gone, from the gallery, its own page and the ledger's lines."""
        made = self.asks(self.user, prompt="a secret")
        self.deliver(self.completed(made))
        self.assertTrue(self.post(f"/my/images/{made.id}/delete").json()["ok"])
        self.assertEqual(made.prompt, "(erased)")
        self.assertFalse(self.page().xpath("//ul[@data-part='grid']/li"))
        self.assertEqual(self.url_open(f"/my/images/{made.id}").status_code, 404)
        self.assertNotIn("/my/images/", self.page("/my/credits").xpath("//table")[0].text_content())
        waits = self.asks(self.user)
        self.assertEqual(self.post(f"/my/images/{waits.id}/delete").status_code, 422)

    def test_others_are_not_touched(self):
        """Neither by their number nor by a number that is none."""
        theirs = self.asks(self.anna)
        self.deliver(self.completed(theirs))
        for action in ("dismiss", "favorite", "delete", "retry", "cancel"):
            for number in (theirs.id, 2**31, 10**20):
                answer = self.post(f"/my/images/{number}/{action}", favorite="1")
                self.assertEqual(answer.status_code, 404, (action, number))
        self.assertFalse(theirs.favorite or theirs.dismissed or theirs.erased_at)

    def test_words_have_their_own_direction(self):
        """Arabic in an English page, and the reverse."""
        made = self.asks(self.user, prompt="ثعلب في الثلج")
        self.deliver(self.completed(made))
        tree = self.page()
        for path in ("//textarea[@name='prompt']", "//a[@data-part='link']"):
            self.assertEqual(tree.xpath(path)[0].get("dir"), "auto", path)
        detail = self.page(f"/my/images/{made.id}")
        for path in ("//p[contains(@class, 'o_duragen_quote')]", "//article//h1"):
            self.assertEqual(detail.xpath(path)[0].get("dir"), "auto", path)
