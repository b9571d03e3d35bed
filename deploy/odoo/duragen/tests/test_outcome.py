"""Outcomes: applied once, however often, in whatever order and however badly they come."""

import base64
import hashlib
import io
import itertools
import math

from odoo.exceptions import AccessError, MissingError, UserError, ValidationError
from odoo.tests import tagged
from odoo.tools import mute_logger
from odoo.tools.safe_eval import safe_eval
from PIL import Image

from .. import after_commit
from ..messages import english
from .common import CLOSED, CREDITS, IMAGE, REFUSED, TAKEN_BACK, UNREACHABLE, DuragenCase

STARTS = ("odoo.addons.duragen.after_commit", "odoo.addons.duragen.models.generation_start")
OUTCOMES = "odoo.addons.duragen.models.generation_outcome"
FAILURES = {"closed": CLOSED, "refused": REFUSED, "taken back": TAKEN_BACK}
STATES = {
    "completed": "completed",
    "closed": "failed",
    "refused": "failed",
    "taken back": "canceled",
}


@tagged("post_install", "-at_install")
class TestEveryOrder(DuragenCase):
    """All sequences of outcomes, against what must hold after each event."""

    def test_every_sequence(self):
        """Four outcomes, three in a row where users pay for their errors, two where they do not."""
        for policy, length in {"capture": 3, "release": 2}.items():
            self.set_up(user_errors=policy)
            for walk in itertools.product(STATES, repeat=length):
                with self.subTest(policy=policy, walk=walk):
                    self._walk(walk, policy)

    def _walk(self, walk, policy):
        self.env.flush_all()
        self.env.cr.execute("SAVEPOINT before_the_walk")
        made = self.asks()
        charged, ended = True, None
        for name in walk:
            event = (
                self.completed(made) if name == "completed" else self.failed(made, FAILURES[name])
            )
            news = ended is None or (name == "completed" and ended != "completed")
            if news:
                ended = STATES[name]
                # No user took it back here: an operator canceled, and that is not the user's fault.
                by_policy = name == "refused" and policy == "capture"
                charged = name == "completed" or by_policy
            before = self._seen(made)
            self.assertEqual(self.deliver(event), "applied" if news else "repeated")
            if not news:
                self.assertEqual(self._seen(made), before)
            self.assertEqual((made.state, made.charged), (ended, charged))
            self.assertEqual(len(made.image_ids), int(ended == "completed"))
            self.assertEqual(self.balance(), CREDITS - made.price * charged)
            kinds = made.entry_ids.mapped("kind")
            self.assertEqual(len(kinds), len(set(kinds)))
        self.assert_ledger()
        self.env.cr.execute("ROLLBACK TO SAVEPOINT before_the_walk")
        self.env.invalidate_all()

    def _seen(self, request):
        request.invalidate_recordset()
        return (request.read()[0], self.booked(request), self.balance())

    def test_it_may_come_before_the_start_is_known(self):
        """A process may die between the start and the commit that records it."""
        for state in ("requested", "started"):
            with self.subTest(state=state):
                made = self.asks()
                if state == "started":
                    made._started()
                self.assertEqual(self.deliver(self.completed(made)), "applied")
                self.assertFalse(made.next_start_at or made.next_check_at)

    def test_a_large_picture_is_kept_as_it_came(self):
        """Odoo makes attached pictures of more than 1920 pixels smaller, unless asked not to."""
        raw = io.BytesIO()
        Image.new("RGB", (2048, 2048), "orange").save(raw, "JPEG", quality=95)
        made = self.asks()
        metadata = {"format": "jpeg", "size": raw.tell(), "width": 2048, "height": 2048}
        self.deliver(self.completed(made, raw.getvalue(), imageMetadata=metadata))
        self.env.invalidate_all()  # from the file store, not from memory
        self.assertEqual(base64.b64decode(made.image_id.data), raw.getvalue())

    def test_what_it_may_have_cost_is_known(self):
        """EVT-AIG-003 says that the image service may have charged; an image makes it forgotten."""
        made = self.asks()
        self.deliver(self.failed(made, {**CLOSED, "mayHaveBeenPaid": True}))
        self.assertTrue(made.may_have_been_paid)
        self.deliver(self.completed(made))
        self.assertFalse(made.may_have_been_paid)

    def test_what_was_ignored_is_shown(self):
        """EVT-AIG-002 names the fields that had no place; anything else in the list is left out."""
        made = self.asks()
        ignored = ["negativePrompt", "cfgScale", 7, None, "<b>", "x" * 99]
        self.deliver(self.completed(made, ignoredFields=ignored))
        self.assertEqual(made.ignored_fields, "negativePrompt, cfgScale")
        other = self.asks()
        self.deliver(self.completed(other, ignoredFields="seed"))
        self.assertFalse(other.ignored_fields)

    def test_a_failure_that_ended_well_is_forgotten(self):
        """An image never stands beside an old error."""
        made = self.asks()
        self.deliver(
            self.failed(made, {**CLOSED, "userMessage": "Sorry.", "retrySuggestion": True})
        )
        self.assertEqual((made.user_message, made.retry_suggestion), ("Sorry.", True))
        self.deliver(self.completed(made))
        names = ("error_code", "error_type", "error_message", "user_message", "retry_suggestion")
        self.assertEqual([made[name] for name in names], [False] * 5)


@tagged("post_install", "-at_install")
class TestMalformed(DuragenCase):
    """A refused event changes nothing."""

    def _refused(self, event, error=ValidationError):
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.requests.search([]).read(), self.balance()
        with self.assertRaises(error) as raised:
            self.requests.apply_event(event)
        self.env.invalidate_all()
        self.assertEqual((self.requests.search([]).read(), self.balance()), before)
        return raised.exception.args[0]

    def test_every_fault_is_named(self):
        """Field by field, all at once."""
        made = self.asks()
        said = self._refused(
            {
                "requestId": "x",
                "correlationId": None,
                "payloadVersion": "2.0",
                "status": "completed",
                "imageMetadata": {"format": "../png", "size": 0, "width": True},
                "hashValue": "abc",
            }
        )
        names = "requestId correlationId payloadVersion imageMetadata.format imageMetadata.size"
        names += " imageMetadata.width imageMetadata.height hashValue imageData"
        for name in names.split():
            with self.subTest(field=name):
                self.assertRegex(said, rf"(?m)^{name}\b")
        self.assertIn("must be a JSON object", self._refused([self.completed(made)]))
        self.assertIn("status", self._refused(self.completed(made, status="done")))

    def test_an_image_must_be_the_one_announced(self):
        """In its size and in its hash."""
        made = self.asks()
        sound = self.completed(made)
        other = base64.b64encode(IMAGE[:-1] + b"!").decode()
        shorter = base64.b64encode(IMAGE[:-1]).decode()
        self.assertIn("SHA-256", self._refused({**sound, "imageData": other}))
        self.assertIn("bytes", self._refused({**sound, "imageData": shorter}))
        self.assertIn("SHA-256", self._refused({**sound, "hashValue": "0" * 64}))
        self._refused({**sound, "imageData": ""})
        self.assertEqual(
            self.deliver({**sound, "hashValue": sound["hashValue"].upper()}), "applied"
        )
        self.assertEqual(base64.b64decode(made.image_id.data), IMAGE)

    def test_an_unknown_request_is_missing(self):
        """An id that was never seen, and a draft, which was not submitted."""
        made = self.asks()
        unknown = {**self.completed(made), "requestId": "7f0c9a52-3c1e-4a77-9a54-0f5b8f1d2a10"}
        self._refused(unknown, MissingError)
        self._refused(self.completed(self.draft().sudo()), MissingError)

    def test_another_ones_correlation_is_refused(self):
        """Both ids must agree; their case does not matter."""
        made, other = self.asks(), self.asks(self.bert)
        event = self.completed(made, correlationId=other.correlation_uuid)
        self.assertIn("correlationId", self._refused(event))
        event = self.completed(made)
        event["requestId"] = event["requestId"].upper()
        event["correlationId"] = event["correlationId"].upper()
        self.assertEqual(self.deliver(event), "applied")

    def test_who_may_deliver(self):
        """Only Duragen's own user; neither a manager nor the request's user."""
        made = self.asks()
        requests = self.env["duragen.generation.request"]
        for user in (self.anna, self.manager):
            with self.assertRaises(AccessError):
                requests.with_user(user).apply_event(self.completed(made))
        self.assertEqual(made.state, "requested")
        said = requests.with_user(self.gateway_user).apply_event(self.failed(made))
        self.assertEqual(said, {"status": "applied", "requestId": made.request_uuid})

    def test_what_the_texts_hold_does_not_matter(self):
        """Odd characters and great lengths are kept as far as they can be."""
        made = self.asks()
        event = self.failed(made)
        event.update(errorMessage="a\0\ud800" * 20_000, errorCode="X" * 500, errorType="y\0" * 500)
        self.assertEqual(self.deliver(event), "applied")
        self.assertEqual(len(made.error_code), 100)
        self.assertEqual(made.user_message, english("INTERNAL"))
        self.env.flush_all()


@tagged("post_install", "-at_install")
class TestImage(DuragenCase):
    """Where the bytes come from, and where they go."""

    def setUp(self):
        """A store that does not answer."""
        super().setUp()
        self.set_up(image_origins=UNREACHABLE)

    def _by_link(self, request, url):
        event = self.completed(request, imageUrl=url)
        del event["imageData"]
        return event

    def _link(self, request):
        return f"{UNREACHABLE}/bucket/generations/{request.request_uuid}.png?X-Amz-Signature=x"

    def test_the_image_is_kept(self):
        """With what the event says of it; the gallery finds it without looking at the bytes."""
        made = self.asks()
        self.deliver(self.completed(made))
        image = made.image_id
        found = {name: image[name] for name in ("format", "size", "width", "height", "sha256")}
        self.assertEqual(
            found,
            {
                "format": "png",
                "size": len(IMAGE),
                "width": 8,
                "height": 9,
                "sha256": hashlib.sha256(IMAGE).hexdigest(),
            },
        )
        self.assertTrue(image.has_data)
        self.assertEqual(base64.b64decode(image.data), IMAGE)
        self.assertEqual((image.user_id, image.s3_key), (self.anna, False))

    def test_a_link_that_fails_is_asked_for_again(self):
        """Nothing is booked, and the link is not quoted; the same event later is applied."""
        made = self.asks()
        with self.assertRaises(UserError) as raised:
            self.deliver(self._by_link(made, self._link(made)))
        self.assertNotIsInstance(raised.exception, ValidationError)
        self.assertNotIn("X-Amz", raised.exception.args[0])
        self.assertEqual((made.state, self.booked(made)), ("requested", [("reserve", -2)]))
        self.assertEqual(self.deliver(self.completed(made)), "applied")

    def test_a_link_that_leads_elsewhere_is_not_followed(self):
        """An authentic event with another address: refused with what to set, and kept by Duragen.

        Managers read it in the form; with the setting right the same event is applied.
        """
        made = self.asks()
        self.set_up(image_origins="https://s3.example.com")
        for url in (self._link(made), "http://169.254.169.254/latest", "http://localhost:8069/x"):
            with self.subTest(url=url), self.own_cursors_are_ours(), mute_logger(OUTCOMES):
                said = self._refused(self._by_link(made, url))
            self.assertIn("https://s3.example.com", said)
            self.assertIn("set the image store's address", said)
            self.assertNotIn("X-Amz", said)
            self.assertEqual(made.progress_note, said[:500])
            self.assertEqual((made.state, self.booked(made)), ("requested", [("reserve", -2)]))
        attention = self.env.ref("duragen.generation_request_action_attention")
        self.assertIn(made, self.requests.search(safe_eval(attention.domain)))
        self.assertEqual(self.deliver(self.completed(made)), "applied")
        self.assertFalse(made.progress_note)

    def _refused(self, event):
        # assertRaises takes back what was written, as Odoo does; but not in another transaction.
        try:
            self.deliver(event)
        except ValidationError as error:
            return error.args[0]
        return self.fail("the event was taken")

    def test_where_links_may_lead(self):
        """The addresses that are set; without any, where the S3 settings have the bucket."""
        connection = self.env["duragen.connection"]
        self.set_up(image_origins="", s3_bucket="", s3_endpoint_url="")
        self.assertEqual(connection._image_origins(), set())
        self.assertFalse(connection._test_origins()[0])
        self.set_up(s3_bucket="b", s3_endpoint_url="http://10.0.0.5:9000/")
        self.assertEqual(connection._image_origins(), {"http://10.0.0.5:9000"})
        self.set_up(image_origins="https://S3.example.com:443/b, http://10.0.0.6:9000 nonsense")
        known = {"https://s3.example.com", "http://10.0.0.6:9000"}
        self.assertEqual(connection._image_origins(), known)
        self.assertTrue(connection._test_origins()[0])

    def test_a_failure_is_taken_while_the_store_is_away(self):
        """Only an image needs its bytes."""
        made = self.asks()
        self.assertEqual(self.deliver(self.failed(made)), "applied")

    def test_a_repeat_does_not_need_the_link(self):
        """A known image is not fetched again, since the old link has long expired."""
        made = self.asks()
        self.deliver(self.completed(made))
        self.assertEqual(self.deliver(self._by_link(made, self._link(made))), "repeated")

    def test_an_image_that_is_left_in_the_store(self):
        """Odoo keeps its key and does not fetch it, with an owner's name in it or without one."""
        self.set_up(image_storage="s3")
        for bucket, owner, rest in (
            ("bucket", "", "png"),
            ("bucket", "acme/", "png"),
            ("bucket", "a_1-b/", "0123456789abcdef0123456789abcdef.png"),
            ("generations", "", "png"),
            ("generations", "acme/", "png"),
        ):
            made = self.asks()
            key = f"generations/{owner}{made.request_uuid}.{rest}"
            with self.subTest(bucket=bucket, owner=owner):
                url = f"{UNREACHABLE}/{bucket}/{key}?X-Amz-Signature=x"
                self.assertEqual(self.deliver(self._by_link(made, url)), "applied")
                self.assertEqual(made.image_id.s3_key, key)
                self.assertFalse(made.image_id.data or made.image_id.has_data)

    def test_anothers_link_is_fetched_all_the_same(self):
        """A key can only be made from a link of our own store, for this very request."""
        self.set_up(image_storage="s3")
        made, other = self.asks(), self.asks()
        strange = f"{UNREACHABLE}/bucket/generations/Acme/{made.request_uuid}.png"
        for url in (f"{UNREACHABLE}/image.png", self._link(other), strange):
            with self.subTest(url=url), self.assertRaises(UserError):
                self.deliver(self._by_link(made, url))
        self.assertEqual(made.state, "requested")


@tagged("post_install", "-at_install")
class TestPages(DuragenCase):
    """Open pages get every change."""

    def _messages(self):
        self.env.cr.precommit.run()
        rows = self.env["bus.bus"].sudo().search([], order="id")
        found = [row.message for row in rows if "duragen.generation" in row.message]
        rows.unlink()
        return found

    def test_each_change_is_sent_once(self):
        """With the state and the balance; a repeat sends nothing."""
        self._messages()
        made = self.asks()
        made._started()
        [message] = self._messages()
        self.assertIn('"state":"started"', message.replace(" ", ""))
        self.assertIn(f'"balance":{CREDITS - 2}', message.replace(" ", ""))
        self.deliver(self.failed(made))
        [message] = self._messages()
        self.assertIn('"state":"failed"', message.replace(" ", ""))
        self.assertIn(f'"balance":{CREDITS}', message.replace(" ", ""))
        self.deliver(self.failed(made))
        self.assertEqual(self._messages(), [])

    def test_a_submission_is_one_message(self):
        """It says how the first try to start it went; one that was not tried waits."""
        for answers, quiet, state in (
            ([(202, None)], False, "started"),
            ([(503, None)], False, "requested"),
            ([(409, None)], False, "requested"),  # not as the gateway says it
            ([(202, None)], True, "requested"),
        ):
            with self.subTest(state=state, quiet=quiet), self.gateway(*answers):
                if quiet:
                    after_commit._quiet_until[self.env.cr.dbname] = math.inf
                made = self.asks()
                self._messages()
                with self.own_cursors_are_ours(), mute_logger(*STARTS):
                    after_commit.start_after_commit(self.env.registry, made.id)
                    [message] = self._messages()
                self.assertEqual(made.state, state)
                self.assertIn(f'"state":"{state}"', message.replace(" ", ""))

    def test_a_try_that_broke_off_is_shown_as_waiting(self):
        """Whatever went wrong in it."""
        made = self.asks()
        made.event = 7
        with self.own_cursors_are_ours(), mute_logger(*STARTS):
            after_commit.start_after_commit(self.env.registry, made.id)
            [message] = self._messages()
        self.assertIn('"state":"requested"', message.replace(" ", ""))
