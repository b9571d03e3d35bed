"""Who may call back: bearer token, signature, replay window."""

import base64
import hashlib
import hmac

from odoo.tests import BaseCase, tagged
from werkzeug.datastructures import Headers

from ..signatures import TOLERANCE_SECONDS, UnauthorizedError, check, check_headers, key_of

NOW = 1_800_000_000
TOKEN = "a token"  # noqa: S105
KEY, OTHER = b"k" * 24, b"o" * 24
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"requestId": "\xc3\xbc"}'


def signature(key=KEY, identity="msg_1", stamp=NOW, body=BODY):
    """What Standard Webhooks sends."""
    signed = f"{identity}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(**changes):
    """The headers of a sound call, at NOW."""
    sound = {
        "Authorization": f"Bearer {TOKEN}",
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(NOW),
        "Webhook-Signature": signature(),
    }
    changed = {**sound, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return Headers([(name, value) for name, value in changed.items() if value is not None])


def verdict(given, tokens=(TOKEN,), secrets=(SECRET,), body=BODY, now=NOW):
    """Empty when the caller is believed, else why not."""
    try:
        check(given, body, tokens, secrets, now)
    except UnauthorizedError as error:
        return str(error)
    return ""


@tagged("post_install", "-at_install")
class TestSignatures(BaseCase):
    """check."""

    def test_a_sound_call(self):
        """Token and signature."""
        self.assertEqual(verdict(headers()), "")

    def test_without_token_and_secret_no_caller_is_believed(self):
        """An addon that was just installed is not open to the world."""
        self.assertIn("not set up", verdict(headers(), tokens=(), secrets=()))

    def test_the_token(self):
        """Missing, wrong, cut short, or in another scheme."""
        for wrong in (
            None,
            "",
            TOKEN,
            "Bearer",
            "Bearer a toke",
            "bearer a token",
            "Basic a token",
            "Bearer ü",
        ):
            with self.subTest(wrong=wrong):
                self.assertIn("bearer", verdict(headers(Authorization=wrong)))
                self.assertIn("bearer", verdict(headers(Authorization=wrong), secrets=()))
        unsigned = headers(Webhook_Signature=None, Webhook_Id=None, Webhook_Timestamp=None)
        self.assertEqual(verdict(unsigned, secrets=()), "")

    def test_what_the_headers_alone_say(self):
        """All but whether the signature is right: that needs the body."""
        check_headers(headers(), (TOKEN,), (SECRET,), NOW)
        check_headers(headers(Webhook_Signature="v1,x"), (TOKEN,), (SECRET,), NOW)
        check_headers(headers(Authorization=None), (), (SECRET,), NOW)
        for wrong, why in (
            ({"Authorization": "Bearer another"}, "bearer"),
            ({"Webhook_Signature": None}, "missing"),
            ({"Webhook_Timestamp": "1"}, "five minutes"),
        ):
            with self.subTest(wrong=wrong), self.assertRaisesRegex(UnauthorizedError, why):
                check_headers(headers(**wrong), (TOKEN,), (SECRET,), NOW)

    def test_both_are_needed_when_both_are_set(self):
        """One alone is not enough."""
        self.assertNotEqual(verdict(headers(Webhook_Signature=None)), "")
        self.assertNotEqual(verdict(headers(Authorization=None)), "")
        self.assertEqual(verdict(headers(Authorization=None), tokens=()), "")

    def test_what_is_missing_is_refused(self):
        """Each of the three headers."""
        for name in ("Webhook_Id", "Webhook_Timestamp", "Webhook_Signature"):
            for nothing in (None, ""):
                with self.subTest(name=name, nothing=nothing):
                    self.assertIn("missing", verdict(headers(**{name: nothing})))

    def test_the_replay_window(self):
        """Five minutes to both sides, to the second."""
        for late in (-TOLERANCE_SECONDS, 0, TOLERANCE_SECONDS):
            self.assertEqual(verdict(headers(), now=NOW + late), "", late)
        for late in (-TOLERANCE_SECONDS - 1, TOLERANCE_SECONDS + 1, 10**6):
            self.assertIn("five minutes", verdict(headers(), now=NOW + late), late)

    def test_a_stamp_is_a_number(self):
        """Anything else is refused."""
        for wrong in ("now", "-1", "1.8e9", f" {NOW}", "١٨٠٠٠٠٠٠٠٠", "0x10", "²"):
            self.assertIn("missing", verdict(headers(Webhook_Timestamp=wrong)), wrong)
        for wrong in ("0", "9" * 5_000):
            self.assertIn("five minutes", verdict(headers(Webhook_Timestamp=wrong)), wrong[:20])

    def test_several_signatures(self):
        """While a secret is changed the right one is among them; other versions do not count."""
        other, right = signature(OTHER), signature()
        for given in (f"{other} {right}", f"{right} {other}", f"v2,abc {right}", f"x  {right}"):
            self.assertEqual(verdict(headers(Webhook_Signature=given)), "", given)
        for given in (
            other,
            f"{other} {other}",
            right.replace("v1", "v1a"),
            right[3:],
            "v1,",
            ",",
            "v1",
        ):
            self.assertIn("wrong", verdict(headers(Webhook_Signature=given)), given)

    def test_either_is_believed_while_they_are_changed(self):
        """The current or the previous one; with both set, a token and a signature all the same."""
        for tokens in ((TOKEN, "new"), ("new", TOKEN)):
            self.assertEqual(verdict(headers(), tokens=tokens), "")
            self.assertIn("bearer", verdict(headers(Authorization="Bearer old"), tokens=tokens))
            self.assertIn("bearer", verdict(headers(Authorization="Bearer "), tokens=tokens))
            both = f"Bearer {TOKEN} Bearer new"
            self.assertIn("bearer", verdict(headers(Authorization=both), tokens=tokens))
        other = "whsec_" + base64.b64encode(OTHER).decode()
        for secrets in ((SECRET, other), (other, SECRET)):
            self.assertEqual(verdict(headers(), secrets=secrets), "")
            by_other = headers(Webhook_Signature=signature(OTHER))
            self.assertEqual(verdict(by_other, secrets=secrets), "")
            by_nobody = headers(Webhook_Signature=signature(b"x" * 24))
            self.assertIn("wrong", verdict(by_nobody, secrets=secrets))
            self.assertIn("missing", verdict(headers(Webhook_Signature=None), secrets=secrets))
            self.assertIn("wrong", verdict(headers(), secrets=secrets, body=BODY + b" "))

    def test_what_is_signed_is_all_that_matters(self):
        """Another body, id or time is another message."""
        self.assertIn("wrong", verdict(headers(), body=BODY + b" "))
        self.assertIn("wrong", verdict(headers(Webhook_Id="msg_2")))
        self.assertIn("wrong", verdict(headers(Webhook_Timestamp=str(NOW + 1))))
        self.assertIn(
            "wrong", verdict(headers(), secrets=["whsec_" + base64.b64encode(OTHER).decode()])
        )

    def test_a_secret_that_is_none(self):
        """No caller is believed, and the error says what is wrong."""
        for wrong in ("whsec_?", "secret with spaces", "whsec_YQ"):
            self.assertIn("not base64", verdict(headers(), secrets=[wrong]), wrong)
        self.assertEqual(key_of(SECRET), KEY)
        self.assertEqual(key_of(base64.b64encode(KEY).decode()), KEY)
