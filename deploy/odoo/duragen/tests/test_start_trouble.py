"""Starts that fail for long: one activity, one alert, and the end of both."""

import json
import threading
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from odoo import fields
from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models.start_trouble import ALERT_LASTS, PATIENCE
from .common import UNREACHABLE, DuragenCase

OUTBOX, TROUBLE = (
    f"odoo.addons.duragen.models.{name}" for name in ("generation_start", "start_trouble")
)
TOKEN = "a-secret-token"  # noqa: S105  # it is none


@tagged("post_install", "-at_install")
class TestStartTrouble(DuragenCase):
    """_watch, which the outbox calls at the end of each run."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.requests.search([("state", "in", ("requested", "started"))]).write({"state": "failed"})

    @property
    def troubles(self):
        """All of them, as the superuser."""
        return self.env["duragen.start.trouble"].sudo().search([])

    def _activities(self):
        return self.env["mail.activity"].search([("res_model", "=", "duragen.start.trouble")])

    def _runs(self):
        """One run of the outbox that finds all that wait."""
        waiting = self.requests.search([("state", "=", "requested")])
        waiting.next_start_at = fields.Datetime.now()
        with mute_logger(OUTBOX), self.own_cursors_are_ours():
            self.requests._cron_start()

    def _fails_for(self, time, number=1):
        """Requests whose starts fail; the first failure of each was so long ago."""
        made = self.requests.union(*(self.asks() for _ in range(number)))
        with mute_logger(OUTBOX):
            for each in made:
                each._start()
        made.failing_since = fields.Datetime.now() - time
        return made

    def test_a_short_outage_calls_nobody(self):
        """A restart is over by then."""
        self._fails_for(PATIENCE - timedelta(minutes=1))
        self._runs()
        self.assertFalse(self.troubles)

    def test_a_long_one_asks_a_manager_once(self):
        """One activity in all, however many wait and however often the outbox runs."""
        self._fails_for(PATIENCE, number=3)
        self._runs()
        self._fails_for(timedelta())
        with self.assertNoLogs(TROUBLE):
            self._runs()
        activity = self._activities()
        self.assertEqual(len(activity), 1)
        self.assertTrue(activity.user_id.has_group("duragen.group_manager"))
        self.assertFalse(activity.user_id.has_group("base.group_system"))
        self.assertIn("3 wait", activity.note)
        self.assertIn("127.0.0.1:1", activity.note)
        self.assertIn("urlopen error", activity.note)  # it stands in angle brackets, and is no HTML
        self.assertEqual((len(self.troubles), self.troubles.waiting), (1, 4))

    def test_the_time_counts_from_the_first_failure(self):
        """Further tries do not begin it again; a start that works does."""
        made = self._fails_for(PATIENCE)
        since = made.failing_since
        self._runs()
        self.assertEqual((made.failing_since, self.troubles.began_at), (since, since))
        with self.gateway():
            self._runs()
        self.assertEqual((made.state, made.failing_since), ("started", False))

    def test_one_that_breaks_off_counts_as_well(self):
        """It has no answer to show: Odoo's log has."""
        made = self.asks()
        made.event = False
        with self.gateway():
            self._runs()
            self.assertIn("Odoo's log", made.start_error)
            made.failing_since -= PATIENCE
            self._runs()
        self.assertEqual(len(self._activities()), 1)

    def test_it_ends_when_starts_work_again(self):
        """The activity is done, with a note; the next trouble opens another one."""
        self._fails_for(PATIENCE, number=2)
        self._runs()
        with self.gateway():
            self._runs()
        self.assertFalse(self._activities())
        self.assertTrue(self.troubles.ended_at)
        self.assertIn("No start fails any more", " ".join(self.troubles.message_ids.mapped("body")))
        self._fails_for(PATIENCE)
        self._runs()
        self.assertEqual((len(self._activities()), len(self.troubles)), (1, 2))

    def test_it_lasts_while_one_fails(self):
        """Others start, and the first one was given up: the last must start as well."""
        first, second = self._fails_for(PATIENCE, number=2)
        self._runs()
        second.failing_since = fields.Datetime.now()
        first.action_give_up()
        self._runs()
        self.assertFalse(self.troubles.ended_at)
        second.action_give_up()
        self._runs()
        self.assertTrue(self.troubles.ended_at)

    def test_an_activity_that_was_done_stays_so(self):
        """The manager knows; the end is still noted."""
        self._fails_for(PATIENCE)
        self._runs()
        self._activities().action_feedback(feedback="I am at it")
        self._runs()
        self.assertFalse(self._activities())
        with self.gateway():
            self._runs()
        self.assertIn("No start fails any more", " ".join(self.troubles.message_ids.mapped("body")))

    def test_the_alert_is_raised_and_kept_alive(self):
        """Labels as those of the worker's alerts; the beginning stays, the end moves on."""
        made = self._fails_for(PATIENCE, number=2)
        with alertmanager(self) as server:
            self._runs()
            self._runs()
        self.assertEqual([call[0] for call in server.calls], ["/api/v2/alerts"] * 2)
        self.assertEqual([call[1] for call in server.calls], [f"Bearer {TOKEN}"] * 2)
        alerts = [alert for _, _, [alert] in server.calls]
        for alert in alerts:
            self.assertEqual(
                alert["labels"],
                {
                    "alertname": "DuragenStartsFailing",
                    "severity": "critical",
                    "service": "duragen",
                    "errorType": "NOT_STARTED",
                    "source": "duragen",
                    "database": self.env.cr.dbname,
                },
            )
            self.assertEqual(_moment(alert["startsAt"]), made[0].failing_since)
            left = _moment(alert["endsAt"]) - fields.Datetime.now()
            self.assertAlmostEqual(left.total_seconds(), ALERT_LASTS.total_seconds(), delta=5)
        self.assertIn("2 wait, 5 min", alerts[0]["annotations"]["summary"])

    def test_the_alert_is_resolved(self):
        """Once, as soon as Alertmanager can be reached; by then it may have ended by itself."""
        self._fails_for(PATIENCE)
        with alertmanager(self) as server:
            self._runs()
            server.status = 503
            with self.gateway(), self.assertLogs(TROUBLE, "WARNING"):
                self._runs()
            server.status = 200
            self._runs()
            self._runs()
        ended = [_moment(body[0]["endsAt"]) < fields.Datetime.now() for _, _, body in server.calls]
        self.assertEqual(ended, [False, True, True])
        labels = [body[0]["labels"] for _, _, body in server.calls]
        self.assertEqual(labels[0], labels[-1])
        starts, ends = (_moment(server.calls[-1][2][0][name]) for name in ("startsAt", "endsAt"))
        self.assertLessEqual(starts, ends)

    def test_a_new_trouble_keeps_the_alert(self):
        """To resolve the old one would end the alert of the new one, which has the same labels."""
        self._fails_for(PATIENCE)
        with alertmanager(self) as server:
            self._runs()
            server.status = 503
            with self.gateway(), mute_logger(TROUBLE):
                self._runs()
            server.status = 200
            self._fails_for(PATIENCE)
            self._runs()
            self._runs()
        last = [_moment(body[0]["endsAt"]) > fields.Datetime.now() for _, _, body in server.calls]
        self.assertEqual(last[-2:], [True, True])

    def test_alertmanager_may_be_away(self):
        """The activity is there all the same; the log has neither the token nor the address."""
        self._fails_for(PATIENCE)
        for address in (f"{UNREACHABLE}/hidden-path", "no address", "http://[hidden-path"):
            with self.subTest(address=address), alertmanager(self):
                self.set_up(alertmanager_url=address)
                with self.assertLogs(TROUBLE, "WARNING") as logs:
                    self._runs()
                self.assertNotIn(TOKEN, " ".join(logs.output))
                self.assertNotIn("hidden-path", " ".join(logs.output))
        self.assertEqual(len(self._activities()), 1)
        self.assertFalse(self.troubles.alert_until)

    def test_a_redirect_does_not_get_the_token(self):
        """It may lead anywhere."""
        self._fails_for(PATIENCE)
        with alertmanager(self) as server, self.assertLogs(TROUBLE, "WARNING") as logs:
            server.status = 307
            self._runs()
        self.assertEqual(len(server.calls), 1)
        self.assertIn("307", logs.output[0])

    def test_a_copy_raises_no_alert(self):
        """The original's Alertmanager would believe it."""
        self.set_up(database_uuid="another")
        self._fails_for(PATIENCE)
        with alertmanager(self) as server:
            self._runs()
        self.assertEqual(server.calls, [])
        self.assertIn("copy", self.troubles.last_error)

    def test_without_an_address_nothing_is_sent(self):
        """Alertmanager is optional."""
        self._fails_for(PATIENCE)
        with self.assertNoLogs(TROUBLE):
            self._runs()
        self.assertEqual(len(self._activities()), 1)

    def test_the_connection_test_asks_alertmanager(self):
        """Only where it is set up."""
        connection = self.env["duragen.connection"]
        self.assertNotIn("Alerts", [each["name"] for each in connection._test()])
        with alertmanager(self) as server:
            self.assertEqual(connection._test_alerts(), (True, "Alertmanager answers."))
            server.status = 401
            self.assertEqual(connection._test_alerts(), (False, "Alertmanager: it answered 401."))
            self.assertIn("Alerts", [each["name"] for each in connection._test()])
        self.assertEqual(server.calls[0][:2], ("/api/v2/status", f"Bearer {TOKEN}"))


@contextmanager
def alertmanager(case):
    """An Alertmanager that the settings name; `calls` has path, key and body of each call."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.calls, server.status = [], 200
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    case.set_up(
        alertmanager_url=f"http://127.0.0.1:{server.server_address[1]}/", alertmanager_token=TOKEN
    )
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def _any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        self.server.calls.append((self.path, self.headers.get("Authorization"), body))
        with suppress(ConnectionError):
            self.send_response(self.server.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_GET = do_POST = _any  # noqa: N815  # the base class's names

    def log_message(self, *_):
        """Say nothing."""


def _moment(text):
    return datetime.fromisoformat(text.removesuffix("Z"))
