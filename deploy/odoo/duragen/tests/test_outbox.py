"""The outbox: what was committed is started once, and what was taken back is not."""

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models.connection import PATIENCE_SECONDS
from ..models.generation_start import OUTBOX_START_SECONDS, PAUSE
from .common import CREDITS, UNKNOWN, DuragenCase, problem

LOGGER = "odoo.addons.duragen.models.generation_start"
AWAY, STRANGER = (503, None), (401, {"detail": "no such key"})
WRONG = problem(422, "invalid_event", "prompt: is too odd")
TAKEN = problem(409, "conflict", "taken by another")


@tagged("post_install", "-at_install")
class TestStart(DuragenCase):
    """_start, the hook after the commit, and the cron behind it."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.requests.search([("state", "in", ("requested", "started"))]).write({"state": "failed"})

    def _runs_outbox(self):
        with self.own_cursors_are_ours():
            self.requests._cron_start()

    def test_it_is_started_with_the_very_event(self):
        """And reconciliation asks about it from then on."""
        made = self.asks()
        with self.gateway() as gateway:
            self.assertTrue(made._start())
        self.assertEqual(gateway.calls, [("POST", "/v1/generations", made.event)])
        self.assertEqual(
            (made.state, made.next_start_at, made.start_error), ("started", False, False)
        )
        self.assertGreater(made.next_check_at, made.started_at)

    def test_it_is_started_once(self):
        """Every further try finds it started."""
        made = self.asks()
        with self.gateway() as gateway:
            made._start()
            made._start()
            self._runs_outbox()
        self.assertEqual(len(gateway.calls), 1)

    def test_what_has_ended_is_not_started(self):
        """Neither a canceled one nor one that Duragen has delivered already."""
        canceled, completed = self.asks(), self.asks()
        self.taken_back(canceled)
        self.deliver(self.completed(completed))
        with self.gateway() as gateway:
            for made in (canceled, completed, self.draft().sudo()):
                self.assertTrue(made._start())
            self._runs_outbox()
        self.assertEqual(gateway.calls, [])

    @mute_logger(LOGGER)
    def test_duragen_is_away(self):
        """Postponed by a minute with the reason; the credits stay reserved."""
        for settings in (
            {"start_path": "gateway"},
            {"start_path": "temporal", "temporal_address": "127.0.0.1:1"},
        ):
            with self.subTest(settings=settings):
                self.set_up(**settings)
                made = self.asks()
                self.assertFalse(made._start())
                self.assertEqual((made.state, made.start_attempts), ("requested", 1))
                self.assertIn("127.0.0.1:1", made.start_error)
                self.assertGreater(made.next_start_at, made.requested_at + PAUSE / 2)
                self.assertEqual(self.booked(made), [("reserve", -2)])

    @mute_logger(LOGGER)
    def test_the_outbox_waits_longer_than_the_hook(self):
        """Six seconds: nobody waits for the page so long, and the outbox has the time."""
        made = self.asks()
        with self.gateway(after_seconds=6) as gateway, self.own_cursors_are_ours():
            *_, hook = self.env.cr.postcommit._funcs
            hook()
            self.env.invalidate_all()
            self.assertEqual((made.state, made.start_attempts), ("requested", 1))
            made.next_start_at = made.requested_at  # its minute has passed
            self.env.flush_all()
            self.requests._cron_start()
        self.assertEqual(made.state, "started")
        self.assertEqual(len(gateway.calls), 2)
        self.assertEqual((PATIENCE_SECONDS, OUTBOX_START_SECONDS), (5, 30))

    @mute_logger(LOGGER)
    def test_a_slow_duragen_does_not_keep_a_run_for_ever(self):
        """What a run has no time for waits for the next one: Odoo ends a cron that takes long."""
        waiting = [self.asks() for _ in range(3)]
        # The first answer takes longer than the whole run may.
        with self.gateway(after_seconds=2.5) as gateway, self.own_cursors_are_ours():
            self.requests._run_outbox(seconds=2)
        self.assertEqual(len(gateway.calls), 1)
        self.assertEqual([each.state for each in waiting], ["started", "requested", "requested"])

    @mute_logger(LOGGER)
    def test_a_run_ends_at_the_first_that_does_not_reach_duragen(self):
        """An outage costs one call a minute, not one for each that waits."""
        waiting = [self.asks() for _ in range(3)]
        with self.gateway(AWAY, (202, None)) as gateway:
            self._runs_outbox()
            self.assertEqual(len(gateway.calls), 1)
            self.assertEqual([each.start_attempts for each in waiting], [1, 0, 0])
            self._runs_outbox()
            self.assertEqual([each.state for each in waiting], ["requested", "started", "started"])
            waiting[0].next_start_at = waiting[0].requested_at
            self._runs_outbox()
        self.assertEqual(waiting[0].state, "started")
        self.assertFalse(waiting[0].start_error)

    @mute_logger(LOGGER)
    def test_settings_that_are_wrong_fail_no_request(self):
        """No key, no address, no gateway behind it: all wait until the settings are fixed."""
        made = self.asks()
        for address in ("", "gateway.example", "ftp://x"):
            with self.subTest(address=address):
                self.set_up(gateway_url=address)
                made._start()
                self.assertEqual((made.state, made.error_code), ("requested", False))
                self.assertIn("http", made.start_error)
        origin = problem(422, "invalid_event", "callbackUrl: not one of ours")
        origin[1]["errors"] = [{"field": "callbackUrl", "rule": "x", "message": "not one of ours"}]
        proxys = (404, None), (400, None), (422, {"detail": "x"}), (409, None), (301, None)
        for answer in (STRANGER, origin, *proxys, (500, None)):
            with self.subTest(answer=answer), self.gateway(answer):
                made._start()
                self.assertEqual((made.state, made.error_code), ("requested", False))
        self.assertEqual(made.start_attempts, 11)

    @mute_logger(LOGGER)
    def test_a_wrong_address_of_odoo_is_fixed_for_what_waits(self):
        """The next try sends the address that the settings have by then."""
        made = self.asks()
        refusal = problem(422, "invalid_event", "callbackUrl: not one of ours")
        refusal[1]["errors"] = [{"field": "callbackUrl", "rule": "x", "message": "unknown"}]
        with self.gateway(refusal, refusal, (202, None)) as gateway:
            made._start()
            self.set_up(callback_base_url="https://right.example")
            made._start()
            made._start()
        self.assertEqual(made.state, "started")
        self.assertEqual(
            [call[2]["callbackUrl"].split("/duragen")[0] for call in gateway.calls],
            ["https://odoo.example", "https://odoo.example", "https://right.example"],
        )

    @mute_logger(LOGGER)
    def test_what_is_answered_does_not_hold_up_the_others(self):
        """The run ends only where Duragen does not answer."""
        waiting = [self.asks() for _ in range(3)]
        with self.gateway(STRANGER, TAKEN, (202, None)):
            self._runs_outbox()
        self.assertEqual([each.state for each in waiting], ["requested", "failed", "started"])

    def test_what_can_never_start_fails_and_costs_nothing(self):
        """Duragen refuses the event, or another payload has its id."""
        self.set_up(user_errors="capture")
        for answer, code in ((WRONG, "INVALID_INPUT"), (TAKEN, "INTERNAL")):
            with self.subTest(answer=answer), self.gateway(answer):
                made = self.asks()
                made._start()
                self.assertEqual((made.state, made.error_code), ("failed", code))
                self.assertIn(answer[1]["detail"], made.error_message)
                self.assertEqual(self.booked(made), [("reserve", -2), ("release", 2)])
                self.assertTrue(made.user_message)

    def test_one_that_breaks_does_not_hold_up_the_others(self):
        """Whatever is wrong with it, only this one waits."""
        broken, sound = self.asks(), self.asks()
        broken.event = False
        with self.gateway(), mute_logger(LOGGER):
            self._runs_outbox()
        self.assertEqual((broken.state, sound.state), ("requested", "started"))

    def test_the_hook_after_the_commit_never_raises(self):
        """Odoo would skip the hooks behind it, though the commit stands."""
        made, broken = self.asks(), self.asks()
        broken.event = False
        hooks = list(self.env.cr.postcommit._funcs)
        self.assertGreaterEqual(len(hooks), 2)
        with mute_logger(LOGGER), self.own_cursors_are_ours():
            for hook in hooks:
                hook()
            gone = self.requests.create({"prompt": "x", "model_id": self.cheap.id})
            gone._submit()
            *_, hook = self.env.cr.postcommit._funcs
            self.env.cr.execute("DELETE FROM duragen_credit_entry WHERE false")
            gone.state = "draft"
            self.env.flush_all()
            hook()
        self.assertEqual(
            (made.state, broken.state, gone.state), ("requested", "requested", "draft")
        )


@tagged("post_install", "-at_install")
class TestCancel(DuragenCase):
    """Taking a request back, before and after its start."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.requests.search([("state", "in", ("requested", "started"))]).write({"state": "failed"})

    def test_before_the_start(self):
        """It ends, free of charge, as soon as Duragen says that it does not know it."""
        made = self.asks()
        with self.gateway(UNKNOWN) as gateway:
            made.with_user(self.anna).action_cancel()
            self.assertEqual((made.state, made.cancel_requested), ("requested", True))
            with self.own_cursors_are_ours():
                self.requests._cron_start()
        self.assertEqual(gateway.calls, [("DELETE", f"/v1/generations/{made.request_uuid}", None)])
        self.assertEqual((made.state, made.error_code), ("canceled", "CANCELED"))
        self.assertEqual(self.balance(), CREDITS)
        self.assertTrue(made.ended_at)

    def test_a_start_whose_answer_was_lost(self):
        """It runs, though it waits here: Duragen cancels it, and it costs nothing."""
        made = self.asks()
        made.with_user(self.anna).action_cancel()
        with self.gateway() as gateway:
            made._start()
        self.assertEqual([call[0] for call in gateway.calls], ["DELETE"])
        self.assertEqual((made.state, self.booked(made)), ("started", [("reserve", -2)]))
        self.deliver({**self.failed(made), "errorCode": "CANCELED"})
        self.assertEqual((made.state, self.balance()), ("canceled", CREDITS))

    @mute_logger(LOGGER)
    def test_duragen_is_away_for_a_cancellation(self):
        """It stays until Duragen can say whether it has it."""
        made = self.asks()
        made.action_cancel()
        with self.gateway(AWAY):
            self.assertFalse(made._start())
        self.assertEqual((made.state, self.booked(made)), ("requested", [("reserve", -2)]))
        self.taken_back(made)

    def test_after_the_start(self):
        """Duragen is asked until it can be reached; the outcome comes as any other does."""
        made = self.asks()
        made._started()
        made.with_user(self.anna).action_cancel()
        self.assertEqual((made.state, made.cancel_requested), ("started", True))
        self.assertEqual(self.booked(made), [("reserve", -2)])
        with self.gateway(AWAY, (202, None)) as gateway, self.own_cursors_are_ours():
            with mute_logger(LOGGER):
                self.requests._cron_start()
            self.env.invalidate_all()
            made.next_start_at = made.requested_at  # its minute has passed
            self.env.flush_all()
            self.requests._cron_start()
            self.requests._cron_start()
        self.assertEqual(
            gateway.calls, [("DELETE", f"/v1/generations/{made.request_uuid}", None)] * 2
        )
        self.deliver({**self.failed(made), "errorCode": "CANCELED"})
        self.assertEqual((made.state, self.balance()), ("canceled", CREDITS))

    @mute_logger(LOGGER)
    def test_one_that_cannot_be_passed_on_does_not_hold_up_the_others(self):
        """Duragen answers with a refusal: the run goes on to the next one."""
        several = [self.asks() for _ in range(2)]
        for made in several:
            made._started()
            made.action_cancel()
        with self.gateway((409, None), (202, None)) as gateway, self.own_cursors_are_ours():
            self.requests._cron_start()
        self.assertEqual(len(gateway.calls), 2)

    def test_a_draft(self):
        """A draft ends at once; nothing was booked."""
        draft = self.draft()
        draft.action_cancel()
        self.assertEqual((draft.state, draft.sudo().entry_ids.ids), ("canceled", []))
        with self.assertRaises(UserError):
            draft.action_submit()

    def test_what_has_ended(self):
        """It stays as it is."""
        for end in (self.completed, self.failed):
            made = self.asks()
            self.deliver(end(made))
            before = made.state, self.booked(made)
            made.action_cancel()
            self.assertEqual((made.state, self.booked(made)), before)
            self.assertFalse(made.cancel_requested)
