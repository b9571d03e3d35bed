"""Reconciliation: what Duragen says of a request, and what that changes in the record."""

from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..starter.client import NotFoundError, SetupError, UnavailableError
from .common import CREDITS, UNREACHABLE, DuragenCase

LOGGER = "odoo.addons.duragen.models.generation_reconciliation"
STATUS = {"state": "generating", "image": None, "error": None, "parked": None}


def ended(code, state="failed", hint=None):
    """A status with an error."""
    return {**STATUS, "state": state, "error": {"code": code, "detail": "so it was", "hint": hint}}


@tagged("post_install", "-at_install")
class TestReconciliation(DuragenCase):
    """_reconcile with each answer, the button and the cron."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.requests.search([("state", "in", ("requested", "started"))]).write({"state": "failed"})
        self.made = self.asks()
        self.made._started()

    def _minutes_until_next(self):
        self.env.flush_all()
        return (self.made.next_check_at - fields.Datetime.now()).total_seconds() / 60

    def test_what_goes_on_is_asked_about_again_and_later_each_time(self):
        """After 15 minutes, 30, an hour, an hour; operators read what Duragen said."""
        for minutes in (15, 30, 60, 60):
            self.made._reconcile(STATUS)
            self.assertAlmostEqual(self._minutes_until_next(), minutes, delta=0.2)
        self.assertEqual((self.made.state, self.made.check_attempts), ("started", 4))
        self.assertIn("generating", self.made.progress_note)

    def test_an_image_that_waits_for_the_store_is_waited_for(self):
        """However often it is asked about: it is made and paid for, so nothing starts or ends."""
        for attempt in range(1, 13):
            self.made._reconcile({**STATUS, "state": "storing"})
            self.assertEqual((self.made.state, self.made.check_attempts), ("started", attempt))
        self.assertFalse(self.made.next_start_at)
        self.assertIn("The image is made. It waits for the image store", self.made.progress_note)
        self.assertEqual(self.booked(self.made), [("reserve", -2)])
        self.set_up(image_storage="s3")
        self.deliver(self.completed(self.made))
        self.assertEqual((self.made.state, self.made.progress_note), ("completed", False))

    def test_what_failed_there_fails_here(self):
        """With the code and the message for people, and the credits as a callback would have it."""
        self.made._reconcile(ended("POLICY_INPUT", hint="It says 'nude'."))
        self.assertEqual((self.made.state, self.made.error_code), ("failed", "POLICY_INPUT"))
        self.assertEqual((self.made.error_type, self.made.retry_suggestion), ("user", False))
        self.assertIn("rephrase", self.made.user_message)
        self.assertIn("nude", self.made.user_message)
        self.assertEqual(self.balance(), CREDITS)

    def test_whose_fault_it_was_decides_here_as_well(self):
        """The policy is asked about users' errors alone."""
        self.set_up(user_errors="capture")
        for code, state, charged in (
            ("JOB_LOST", "failed", False),
            ("POLICY_INPUT", "failed", True),
            ("CANCELED", "canceled", False),  # an operator did
            ("INTERNAL", "abandoned", False),
        ):
            with self.subTest(code=code):
                made = self.asks()
                made._started()
                made._reconcile(ended(code, state))
                self.assertEqual(made.state, "canceled" if code == "CANCELED" else "failed")
                self.assertEqual((made.error_code, made.charged), (code, charged))
        self.assert_ledger()

    def test_a_callback_that_is_not_allowed_is_our_fault(self):
        """Duragen's settings lack this Odoo: never charged, and no word of the user's prompt."""
        self.set_up(user_errors="capture")
        self.made._reconcile(ended("INVALID_INPUT", "failed"))
        self.assertEqual((self.made.error_code, self.made.charged), ("INTERNAL", False))
        self.assertNotIn("prompt", self.made.user_message)

    def test_an_end_without_a_reason(self):
        """Somebody terminated it: our fault."""
        for error in (None, {}):
            made = self.asks()
            made._started()
            made._reconcile({**STATUS, "state": "failed", "error": error})
            self.assertEqual((made.state, made.error_code), ("failed", "INTERNAL"))
            self.assertEqual((made.error_type, made.retry_suggestion), ("system", True))
            self.assertFalse(made.charged)

    def test_an_image_that_cannot_be_read_is_waited_for(self):
        """Nothing is lost, and operators read what to set."""
        image = {"key": "generations/x.png", "format": "png", "size": 3, "width": 1, "height": 1}
        completed = {**STATUS, "state": "completed", "image": {**image, "sha256": "0" * 64}}
        for address, words in ((UNREACHABLE, "the gateway did not answer"), ("", "set the bucket")):
            self.set_up(gateway_url=address)
            self.made.check_attempts = 0
            self.made._reconcile(completed)
            self.assertEqual((self.made.state, self.made.charged), ("started", True))
            self.assertIn(words, self.made.progress_note)
            self.assertAlmostEqual(self._minutes_until_next(), 15, delta=0.2)
        self.set_up(image_storage="s3")
        self.made._reconcile(completed)
        self.assertEqual(self.made.state, "completed")
        self.assertEqual(self.made.image_id.s3_key, "generations/x.png")
        self.assertEqual(self.booked(self.made), [("reserve", -2), ("capture", 0)])

    def test_what_duragen_does_not_know_is_started_again(self):
        """Under the same id and with the same event."""
        event = self.made.event
        self.made._reconcile(NotFoundError("there is no such generation"))
        self.assertEqual((self.made.state, self.made.event), ("requested", event))
        self.assertLessEqual(self.made.next_start_at, fields.Datetime.now())
        with self.gateway() as gateway, self.own_cursors_are_ours():
            self.requests._cron_start()
        self.assertEqual([call[2] for call in gateway.calls], [event])
        self.assertEqual(self.made.state, "started")
        self.assertEqual(self.booked(self.made), [("reserve", -2)])

    def test_what_duragen_does_not_know_and_the_user_canceled_ends(self):
        """As canceled."""
        self.made.action_cancel()
        self.made._reconcile(NotFoundError("there is no such generation"))
        self.assertEqual((self.made.state, self.balance()), ("canceled", CREDITS))

    def test_without_an_answer_nothing_changes(self):
        """The run ends there, and the next one asks again."""
        self.made.next_check_at = fields.Datetime.now() - timedelta(hours=1)
        fields_ = ["state", "check_attempts", "next_check_at", "progress_note"]
        self.env.flush_all()
        before = self.made.read(fields_)
        with self.gateway((503, None)), mute_logger(LOGGER), self.own_cursors_are_ours():
            self.requests._cron_reconcile()
        self.env.invalidate_all()
        self.assertEqual(self.made.read(fields_), before)

    def test_one_without_an_answer_does_not_hold_up_the_others(self):
        """It is asked about later, and the run goes on."""
        self.made._reconcile(UnavailableError("it is too long"))
        self.assertIn("it is too long", self.made.progress_note)
        self.assertGreater(self._minutes_until_next(), 14)

    def test_what_is_lost_can_be_given_up_by_a_manager(self):
        """The credits come back; an image that comes after all is charged as any other."""
        with self.assertRaises(AccessError):
            self.made.with_user(self.anna).action_give_up()
        self.made.with_user(self.manager).action_give_up()
        self.assertEqual((self.made.state, self.made.error_code), ("failed", "INTERNAL"))
        self.assertIn("core_manager", self.made.error_message)
        self.assertEqual(self.balance(), CREDITS)
        self.deliver(self.completed(self.made))
        self.assertEqual((self.made.state, self.balance()), ("completed", CREDITS - 2))
        self.assert_ledger()

    def test_what_was_started_elsewhere_is_not_started_here(self):
        """After a change of the settings Duragen does not know it, but it may still run."""
        self.set_up(gateway_url="http://127.0.0.1:2")
        self.made._reconcile(NotFoundError("there is no such generation"))
        self.assertEqual(self.made.state, "started")
        self.assertIn("http://127.0.0.1:1", self.made.progress_note)

    def test_other_trouble_is_noted(self):
        """For operators; the request waits."""
        self.made._reconcile(SetupError("the namespace is missing"))
        self.assertEqual(self.made.progress_note, "SetupError: the namespace is missing")
        self.assertEqual(self.made.state, "started")

    def test_a_parked_outcome_is_asked_for(self):
        """Odoo runs, since it asks."""
        parked = {**STATUS, "state": "parked", "parked": {"code": "ODOO_UNAVAILABLE"}}
        with self.gateway() as gateway:
            self.made._reconcile(parked)
        path = f"/v1/generations/{self.made.request_uuid}/redeliver"
        self.assertEqual(gateway.calls, [("POST", path, None)])
        self.assertIn("ODOO_UNAVAILABLE", self.made.progress_note)

    def test_why_it_is_parked_is_asked_for(self):
        """What Temporal lists a generation by has its state alone."""
        self.made.next_check_at = fields.Datetime.now() - timedelta(hours=1)
        brief = {**STATUS, "state": "parked"}
        parked = {**brief, "parked": {"code": "ODOO_UNAVAILABLE"}}
        answers = [(200, brief), (200, parked), (200, None)]
        with self.gateway(*answers) as gateway, self.own_cursors_are_ours():
            self.requests._cron_reconcile()
        self.assertEqual([call[0] for call in gateway.calls], ["GET", "GET", "POST"])
        self.assertIn("ODOO_UNAVAILABLE", self.made.progress_note)

    def test_those_that_wait_are_brought_up_to_date_together(self):
        """Each by its own count of questions; one that has ended meanwhile is left alone."""
        others = [self.asks() for _ in range(3)]
        for number, other in enumerate(others):
            other._started()
            other.check_attempts = number
        self.deliver(self.completed(others[0]))
        storing = {**STATUS, "state": "storing"}
        answers = {self.made.id: STATUS, **{each.id: storing for each in others}}
        with self.own_cursors_are_ours():
            self.requests._reconcile_chunk(answers)
        self.assertEqual(others[0].state, "completed")
        self.assertFalse(others[0].progress_note)
        self.assertEqual([each.check_attempts for each in (self.made, *others[1:])], [1, 2, 3])
        self.assertIn("generating", self.made.progress_note)
        for other, minutes in ((others[1], 30), (others[2], 60)):
            self.assertIn("waits for the image store", other.progress_note)
            left = other.next_check_at - fields.Datetime.now()
            self.assertAlmostEqual(left.total_seconds() / 60, minutes, delta=0.2)

    def test_one_that_ended_while_it_was_asked_for_is_not_started_again(self):
        """It was parked, and then it was not: the next question finds its outcome."""
        parked = {**STATUS, "state": "parked", "parked": {"code": "ODOO_UNAVAILABLE"}}
        with self.gateway((404, None)):
            self.made._reconcile(parked)
        self.assertEqual(self.made.state, "started")

    def test_what_ended_meanwhile_is_left_alone(self):
        """Its outcome came while the answer was on its way."""
        self.deliver(self.completed(self.made))
        for answer in (STATUS, NotFoundError("x"), ended("JOB_LOST")):
            self.made._reconcile(answer)
        self.assertEqual(self.made.state, "completed")

    def test_the_button_asks_now(self):
        """It says so when Duragen does not answer, or has no address."""
        with self.gateway((200, ended("JOB_LOST"))) as gateway:
            self.made.with_user(self.anna).action_refresh()
        self.assertEqual(gateway.calls[0][:2], ("GET", f"/v1/generations/{self.made.request_uuid}"))
        self.assertEqual(self.made.state, "failed")
        made = self.asks()
        made._started()
        for address in ("http://127.0.0.1:1", ""):
            self.set_up(gateway_url=address)
            with self.subTest(address=address), mute_logger(LOGGER), self.assertRaises(UserError):
                made.with_user(self.anna).action_refresh()

    def test_the_cron_asks_about_what_has_waited_long_enough(self):
        """In the order of waiting; one that breaks does not hold up the others."""
        several = [self.made, *(self.asks() for _ in range(3))]
        past = fields.Datetime.now() - timedelta(hours=1)
        for position, made in enumerate(several[1:]):
            made._started()
            made.next_check_at = past + timedelta(minutes=position)
        answers = [(200, {**STATUS, "state": "failed", "error": 7}), (200, ended("JOB_LOST"))]
        with (
            self.gateway(*answers) as gateway,
            mute_logger(LOGGER),
            self.own_cursors_are_ours(),
        ):
            self.requests._cron_reconcile()
        self.assertEqual(len(gateway.calls), 3)  # the first has only just been started
        states = [made.state for made in several]
        self.assertEqual(sorted(states), ["failed", "failed", "started", "started"])
        self.assertEqual(states[0], "started")

    def test_the_cron_without_an_address_waits(self):
        """It neither raises nor changes anything."""
        self.made.next_check_at = fields.Datetime.now() - timedelta(hours=1)
        self.set_up(gateway_url="")
        with mute_logger(LOGGER), self.own_cursors_are_ours():
            self.requests._cron_reconcile()
        self.assertEqual(self.made.state, "started")
