"""The developer API: whose key it is, what it may do, and what every refusal says."""

import random
import uuid
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged

from .common import CHEAP, CREDITS, FULL, UNKNOWN, DuragenCase

PARAMS = {"prompt": "a fox", "modelId": CHEAP}


@tagged("post_install", "-at_install")
class TestApi(DuragenCase):
    """duragen.api, called as the gateway's user, for Anna."""

    def setUp(self):
        """See the class."""
        super().setUp()
        self.api = self.env["duragen.api"].with_user(self.gateway_user).sudo(False)
        self.key = self._key(self.anna)

    def _key(self, user, scope="duragen"):
        # The last None makes a key without an end, which only the superuser may do.
        return self.env["res.users.apikeys"].with_user(user).sudo()._generate(scope, "a test", None)

    def _submits(self, reference=None, key=None, **params):
        return self.api.submit(key or self.key, {**PARAMS, **params}, reference)

    def _assert_refused(self, answer, code, status):
        self.assertEqual(
            (answer["ok"], answer["error"], answer["httpStatus"]), (False, code, status)
        )
        self.assertTrue(answer["message"])

    # Keys ---------------------------------------------------------------------------------------

    def test_a_key_says_whose_it_is(self):
        """One of this scope, or one of every scope, as people make them in their preferences."""
        for scope in ("duragen", None):
            with self.subTest(scope=scope):
                answer = self.api.authenticate(self._key(self.anna, scope))
                self.assertEqual((answer["ok"], answer["login"]), (True, "core_anna"))
                self.assertEqual(answer["userId"], self.asks().event["userId"])
                self.assertEqual(answer["companyId"], self.anna.company_id.id)

    def test_what_is_no_key_is_refused(self):
        """Every method answers so, and nothing is looked up or made."""
        expired = self._key(self.anna)
        self.env.cr.execute(
            "UPDATE res_users_apikeys SET expiration_date = %s WHERE index = %s",
            [fields.Datetime.now() - timedelta(days=1), expired[:8]],
        )
        left = new_test_user(self.env, "core_left", context={"no_reset_password": True})
        of_one_who_left = self._key(left)
        left.active = False
        before = self.requests.search_count([])
        for wrong in (
            *("", None, False, 7, "x", "ü" * 40, "0" * 40, "a\0b", self.key[:-1], self.key + "0"),
            *(self._key(self.anna, "another scope"), expired, of_one_who_left, [self.key]),
        ):
            with self.subTest(wrong=wrong):
                some = str(uuid.uuid4())
                for answer in (
                    self.api.authenticate(wrong),
                    self.api.check(wrong),
                    self.api.estimate(wrong, PARAMS),
                    self.api.submit(wrong, PARAMS),
                    self.api.status(wrong, some),
                    self.api.list_requests(wrong),
                    self.api.cancel(wrong, some),
                ):
                    self._assert_refused(answer, "INVALID_API_KEY", 401)
        self.assertEqual(self.requests.search_count([]), before)

    def test_strangers_are_refused_before_the_key_is_looked_at(self):
        """Not even a manager serves API users: somebody could try keys through him."""
        for user in (self.anna, self.manager):
            api = self.env["duragen.api"].with_user(user).sudo(False)
            for call in (
                lambda api=api: api.authenticate(self.key),
                lambda api=api: api.check(self.key),
                lambda api=api: api.estimate(self.key, PARAMS),
                lambda api=api: api.list_requests(self.key),
                lambda api=api: api.submit(self.key, PARAMS),
                lambda api=api: api.status(self.key, "x"),
                lambda api=api: api.cancel(self.key, "x"),
            ):
                with self.subTest(user=user.login), self.assertRaises(AccessError):
                    call()

    # Submit -------------------------------------------------------------------------------------

    def test_a_request_is_made_and_paid_for(self):
        """By the key's user; the answer says all that a caller needs."""
        answer = self._submits()
        made = self.requests.search([("request_uuid", "=", answer["jobId"])])
        self.assertEqual((made.user_id, made.origin, made.state), (self.anna, "api", "requested"))
        expected = {"ok": True, "status": "pending", "price": 2, "charged": True, "imageUrl": None}
        self.assertEqual({name: answer[name] for name in expected}, expected)
        self.assertEqual((answer["balance"], self.balance()), (CREDITS - 2, CREDITS - 2))
        self.assertIsNone(answer["error"])

    def test_every_parameter_arrives(self):
        """Under the wire's names; a seed of 0 is a seed."""
        options = {
            "negativePrompt": "rain",
            "seed": 0,
            "inferenceSteps": 20,
            "cfgScale": 7.5,
            "campaignId": str(uuid.uuid4()),
            "resolution": "1536x1024",
            "modelId": FULL.upper(),
        }
        answer = self._submits(**options)
        made = self.requests.search([("request_uuid", "=", answer["jobId"])])
        options["modelId"] = FULL
        self.assertEqual(made.event, {**made.event, **options})

    def test_a_parameter_that_is_wrong_is_named(self):
        """422, and nothing is made."""
        before = self.requests.search_count([]), self.balance()
        for name, wrongs in {
            "prompt": (None, "", 7, ["a"], {"a": 1}),
            "modelId": (None, "", "x", 7, str(uuid.uuid4()), [CHEAP], "_" * 36),
            "negativePrompt": (7, ["x"]),
            "resolution": (7, ["1024x1024"]),
            "seed": ("7", 1.5, True, [7]),
            "inferenceSteps": ("7", 1.5, True),
            "cfgScale": ("7", True, [7]),
            "campaignId": (7, ["x"]),
        }.items():
            for wrong in wrongs:
                with self.subTest(name=name, wrong=wrong):
                    answer = self._submits(**{"modelId": FULL, name: wrong})
                    self._assert_refused(answer, "INVALID_INPUT", 422)
                    self.assertIn(name.lower(), answer["message"].lower())
        for more in (
            {"seed": 2**63},
            {"seed": -1},
            {"inferenceSteps": 2**40},
            {"inferenceSteps": 31},
            {"cfgScale": float("nan")},
            {"cfgScale": 51},
            {"campaignId": "x"},
            {"resolution": "512x512"},
            {"prompt": "\0 \0"},
        ):
            with self.subTest(more=more):
                self._assert_refused(
                    self._submits(**{"modelId": FULL, **more}), "INVALID_INPUT", 422
                )
        for params in (None, [], "x", 7):
            with self.subTest(params=params):
                self._assert_refused(self.api.submit(self.key, params), "INVALID_INPUT", 422)
        self.assertEqual((self.requests.search_count([]), self.balance()), before)

    def test_anything_at_all_is_answered(self):
        """Whatever a caller sends, the gateway gets an answer that it can pass on."""
        chance = random.Random(7)  # noqa: S311
        values = (None, "", 0, -1, 1.5, True, float("inf"), 2**80, "a\0", "\ud800", "x" * 40_000)
        values += (
            [],
            [None],
            {},
            {"a": "b"},
            "1024x1024",
            CHEAP,
            FULL,
            str(uuid.uuid4()),
            "%",
            "٣",
        )
        names = ("prompt", "modelId", "negativePrompt", "resolution", "seed", "inferenceSteps")
        names += ("cfgScale", "campaignId", "userId", "", "state")
        for _ in range(60):
            params = {"prompt": "a fox", "modelId": FULL}
            for name in chance.sample(names, chance.randint(1, 4)):
                params[name] = chance.choice(values)
            reference = chance.choice([*values, f"order {chance.random()}"])
            with self.subTest(params=str(params)[:200], reference=str(reference)[:20]):
                answer = self.api.submit(self.key, params, reference)
                self.assertIn(answer.get("httpStatus"), (None, 402, 409, 422))
                if answer["ok"]:
                    self.api.cancel(self.key, answer["jobId"])
        self.assert_ledger()

    def test_without_credits(self):
        """402, with the figures; nothing is made."""
        self.grant(self.anna, -CREDITS + 1)
        before = self.requests.search_count([])
        answer = self._submits()
        self._assert_refused(answer, "INSUFFICIENT_CREDITS", 402)
        self.assertIn("costs 2 credits, and you have 1 credit.", answer["message"])
        self.assertEqual(self.requests.search_count([]), before)
        self.assertEqual(self.balance(), 1)

    def test_beyond_the_quota(self):
        """429 until the period ends; `check` says so before."""
        self.env["duragen.quota"].create({"limit": 1, "user_id": self.anna.id})
        self.assertEqual(self.api.check(self.key)["quotas"][0]["used"], 0)
        self._submits()
        for answer in (self._submits(), self.api.check(self.key)):
            self._assert_refused(answer, "LIMIT_REACHED", 429)
            self.assertLessEqual(answer["retryAfter"], 86_401)
            self.assertGreater(answer["retryAfter"], 0)

    def test_the_rate(self):
        """So many a minute, counted for each user; the wait is until the oldest is a minute old."""
        self.set_up(api_rate_per_minute=2)
        first = self._submits()
        made = self.requests.search([("request_uuid", "=", first["jobId"])])
        self._submits()
        made.requested_at = fields.Datetime.now() - timedelta(seconds=40)
        for answer in (self._submits(), self.api.check(self.key)):
            self._assert_refused(answer, "LIMIT_REACHED", 429)
            self.assertAlmostEqual(answer["retryAfter"], 21, delta=3)
        self.assertTrue(self._submits(key=self._key(self.bert))["ok"])
        made.requested_at = fields.Datetime.now() - timedelta(seconds=60)
        self.assertTrue(self._submits()["ok"])

    def test_a_repeat_is_the_same_request(self):
        """Also when the rate, the quota or the credits are used up: it was taken already."""
        first = self._submits("order 7")
        self.set_up(api_rate_per_minute=1)
        self.env["duragen.quota"].create({"limit": 1, "user_id": self.anna.id})
        self.grant(self.anna, -self.balance())
        again = self._submits("order 7")
        more = {"balance": 0, "replayed": True, "limits": again["limits"]}
        self.assertEqual(again, {**first, **more})
        self.assertEqual(self.requests.search_count([("user_id", "=", self.anna.id)]), 1)
        self.grant(self.bert, 1)
        other = self._submits("order 7", key=self._key(self.bert))
        self.assertNotEqual(other["jobId"], first["jobId"])

    def test_the_same_reference_for_another_image(self):
        """409, also where only a field is missing or one more is there."""
        self.assertFalse(self._submits("order 7", modelId=FULL, seed=5)["replayed"])
        for params in (
            {"modelId": FULL},
            {"modelId": FULL, "seed": 6},
            {"modelId": FULL, "seed": 5, "resolution": "1536x1024"},
            {"modelId": CHEAP, "seed": 5},
        ):
            with self.subTest(params=params):
                self._assert_refused(self._submits("order 7", **params), "CONFLICT", 409)
        blank = {"negativePrompt": "", "campaignId": None}
        self.assertTrue(self._submits("order 7", modelId=FULL, seed=5, **blank)["replayed"])
        self.assertFalse(self._submits("order 8", modelId=FULL, cfgScale=7)["replayed"])
        again = self._submits("order 8", modelId=FULL.upper(), cfgScale=7.0)
        self.assertTrue(again["ok"] and again["replayed"], again)

    def test_a_reference_is_free_again_after_a_day(self):
        """A caller may count from 1 every day."""
        first = self._submits("1")
        made = self.requests.search([("request_uuid", "=", first["jobId"])])
        made.requested_at = fields.Datetime.now() - timedelta(hours=23, minutes=59)
        self.assertEqual(self._submits("1")["jobId"], first["jobId"])
        made.requested_at = fields.Datetime.now() - timedelta(hours=24, minutes=1)
        second = self._submits("1", prompt="another fox")
        self.assertTrue(second["ok"], second)
        self.assertNotEqual(second["jobId"], first["jobId"])
        self.assertEqual(self.balance(), CREDITS - 4)

    def test_a_deadline(self):
        """It is in the event, so that Duragen keeps it; a repeat does not move it."""
        before = fields.Datetime.now()
        answer = self.api.submit(self.key, PARAMS, "x", 300)
        made = self.requests.search([("request_uuid", "=", answer["jobId"])])
        self.assertEqual(made.event["cancelAt"], answer["cancelAt"])
        self.assertGreaterEqual(made.cancel_at, before + timedelta(seconds=300))
        again = self.api.submit(self.key, PARAMS, "x", 600)
        self.assertEqual(again["cancelAt"], answer["cancelAt"])
        for wrong in (4, 86_401, "300", 7.5, True, []):
            with self.subTest(wrong=wrong):
                refused = self.api.submit(self.key, PARAMS, None, wrong)
                self._assert_refused(refused, "INVALID_INPUT", 422)

    def test_the_estimate(self):
        """Price and balance, and nothing is made; what `submit` would refuse is refused."""
        before = self.requests.search_count([])
        answer = self.api.estimate(self.key, {**PARAMS, "modelId": FULL, "seed": 5})
        expected = {"ok": True, "price": 3, "balance": CREDITS, "balanceAfter": CREDITS - 3}
        self.assertEqual({name: answer[name] for name in expected}, expected)
        self.assertEqual([each["name"] for each in answer["limits"]], ["minute"])
        for wrong in ({"prompt": ""}, {"modelId": "x"}, {"seed": 5}, {"resolution": "8x8"}):
            with self.subTest(wrong=wrong):
                refused = self.api.estimate(self.key, {**PARAMS, **wrong})
                self._assert_refused(refused, "INVALID_INPUT", 422)
        for wrong in ({"promt": "a fox"}, {"inferenceSteps": 0}, {"cfgScale": 0.0}):
            with self.subTest(wrong=wrong):
                refused = self.api.estimate(self.key, {**PARAMS, "modelId": FULL, **wrong})
                self._assert_refused(refused, "INVALID_INPUT", 422)
                self.assertIn(*wrong, refused["message"])
        self.assertEqual(self.requests.search_count([]), before)

    def test_a_user_who_may_not_ask(self):
        """403: the key is sound, and neither an employee's nor a portal user's."""
        key = self._key(self.env.ref("base.public_user"))
        self.env.ref("base.public_user").active = True
        self.env.flush_all()
        self._assert_refused(self.api.submit(key, PARAMS), "FORBIDDEN", 403)

    def test_a_user_of_several_companies(self):
        """Jobs of another company of his are still his, whichever is his own by now."""
        made = self._submits()
        other = self.env["res.company"].create({"name": "Another"})
        self.anna.write({"company_ids": [(4, other.id)], "company_id": other.id})
        status = self.api.status(self.key, made["jobId"])
        self.assertEqual((status["ok"], status["status"]), (True, "pending"))
        self.assertEqual(self._listed()[0], [made["jobId"]])
        self.assertTrue(self.api.cancel(self.key, made["jobId"])["ok"])

    def test_a_reference_of_another_way_in(self):
        """It has no digest: the same image is the same request, another one is a conflict."""
        made = self.asks(prompt="a fox", client_reference="mine")
        again = self.api.submit(self.key, PARAMS, "mine")
        self.assertTrue(again["ok"], again)
        self.assertEqual((again["jobId"], again["replayed"]), (made.request_uuid, True))
        other = {**PARAMS, "prompt": "another"}
        self._assert_refused(self.api.submit(self.key, other, "mine"), "CONFLICT", 409)

    # The list -----------------------------------------------------------------------------------

    def _listed(self, **filters):
        answer = self.api.list_requests(self.key, filters)
        self.assertTrue(answer["ok"], answer)
        return [job["jobId"] for job in answer["jobs"]], answer["next"]

    def test_the_list_page_by_page(self):
        """The newest first, each once, also when several have the same second; no draft."""
        self.draft()
        self.asks(self.bert)
        made = [self._submits()["jobId"] for _ in range(5)]
        pages, after = [], None
        while True:
            ids, after = self._listed(limit=2, **({"after": after} if after else {}))
            pages.append(ids)
            if not after:
                break
        newest_first = made[::-1]
        self.assertEqual(pages, [newest_first[:2], newest_first[2:4], newest_first[4:]])

    def test_the_list_narrowed_down(self):
        """By state, moment and model, in any combination."""
        old = self.asks()
        old.requested_at = fields.Datetime.now() - timedelta(days=2)
        self.deliver(self.completed(old))
        full = self._submits(modelId=FULL)["jobId"]
        since = (fields.Datetime.now() - timedelta(hours=49)).isoformat()
        for filters, expected in (
            ({}, [full, old.request_uuid]),
            ({"status": "completed"}, [old.request_uuid]),
            ({"status": "pending"}, [full]),
            ({"status": "processing"}, []),
            ({"since": since + "Z"}, [full, old.request_uuid]),
            ({"since": since + "-02:00"}, [full]),
            ({"modelId": FULL.upper()}, [full]),
            ({"modelId": CHEAP, "status": "completed"}, [old.request_uuid]),
        ):
            with self.subTest(filters=filters):
                self.assertEqual(self._listed(**filters), (expected, None))

    def test_a_filter_that_is_wrong_is_named(self):
        """422, whatever its type."""
        of_bert = self.asks(self.bert).request_uuid
        for name, wrongs in {
            "status": ("x", "started", 7, []),
            "since": ("x", "2026-13-01", 7, [], "9999-12-31T23:59:59-23:59"),
            "modelId": ("x", 7, "%"),
            "limit": (0, 101, "7", True, 1.5),
            "after": ("x", str(uuid.uuid4()), of_bert, 7),
        }.items():
            for wrong in wrongs:
                with self.subTest(name=name, wrong=wrong):
                    answer = self.api.list_requests(self.key, {name: wrong})
                    self._assert_refused(answer, "INVALID_INPUT", 422)
                    self.assertIn(name, answer["message"])
        self._assert_refused(self.api.list_requests(self.key, ["x"]), "INVALID_INPUT", 422)

    def test_a_reference_that_is_too_long_is_refused(self):
        """Cut short, it could be the same as another reference."""
        self.assertTrue(self._submits("x" * 200)["ok"])
        self._assert_refused(self._submits("x" * 201), "INVALID_INPUT", 422)

    def test_a_reference_is_cleaned_as_the_record_keeps_it(self):
        """PostgreSQL holds no NUL and no lone surrogate."""
        first, again = self._submits("a\0b\ud800"), self._submits("ab?")
        self.assertTrue(first["ok"], first)
        self.assertEqual(first["jobId"], again["jobId"])

    # Status and cancel --------------------------------------------------------------------------

    def test_anothers_request_is_not_there(self):
        """404, as for one that never was: the answer does not show that it exists."""
        of_bert = self.asks(self.bert)
        for wrong in (
            of_bert.request_uuid,
            str(uuid.uuid4()),
            "",
            None,
            "x",
            7,
            [],
            "%",
            "a\0",
            of_bert.id,
        ):
            for method in ("status", "cancel"):
                with self.subTest(wrong=wrong, method=method):
                    answer = getattr(self.api, method)(self.key, wrong)
                    self._assert_refused(answer, "NOT_FOUND", 404)
        self.assertEqual(of_bert.state, "requested")

    def test_status_says_where_it_stands(self):
        """pending, processing, completed with a link, failed with the reason."""
        made = self.asks()
        self.assertEqual(self.api.status(self.key, made.request_uuid)["status"], "pending")
        self.assertEqual(self.api.status(self.key, made.request_uuid.upper())["status"], "pending")
        made._started()
        self.assertEqual(self.api.status(self.key, made.request_uuid)["status"], "processing")
        self.deliver(self.failed(made))
        answer = self.api.status(self.key, made.request_uuid)
        self.assertEqual((answer["status"], answer["charged"]), ("failed", False))
        self.assertEqual(answer["error"]["code"], "JOB_LOST")
        self.assertTrue(answer["error"]["message"])
        self.deliver(self.completed(made))
        answer = self.api.status(self.key, made.request_uuid)
        self.assertEqual((answer["status"], answer["error"]), ("completed", None))
        image, token = answer["imageUrl"].split("?token=")
        self.assertTrue(image.endswith(f"/duragen/image/{made.image_id.id}"))
        self.assertTrue(made.image_id._is_signed_by(token))

    def test_a_draft_is_not_a_job(self):
        """It has not been submitted."""
        draft = self.draft().sudo()
        self._assert_refused(self.api.status(self.key, draft.request_uuid), "NOT_FOUND", 404)

    def test_cancel(self):
        """What Duragen does not know ends at once, and costs nothing."""
        answer = self._submits()
        for _ in range(2):
            answer = self.api.cancel(self.key, answer["jobId"])
            self.assertEqual((answer["status"], answer["cancelRequested"]), ("pending", True))
        with self.gateway(UNKNOWN):
            self.requests.search([("request_uuid", "=", answer["jobId"])])._start()
        answer = self.api.cancel(self.key, answer["jobId"])
        self.assertEqual((answer["ok"], answer["status"]), (True, "canceled"))
        self.assertEqual(self.balance(), CREDITS)
        self.assert_ledger()
