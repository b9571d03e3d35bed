"""Submission: what is refused and why, what is sent, and who may write what."""

import json
import uuid

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged

from ..exceptions import ConflictError
from .common import CHEAP, CREDITS, FULL, DuragenCase

REQUEST = "duragen.generation.request"
SOUND_UUID = "7f0c9a52-3c1e-4a77-9a54-0f5b8f1d2a10"


@tagged("post_install", "-at_install")
class TestValidation(DuragenCase):
    """What a person may ask for."""

    def _refused(self, **vals):
        before = self.requests.search_count([])
        with self.assertRaises(ValidationError) as raised:
            self.asks(**{"model_id": self.full.id, **vals})
        self.assertEqual(self.requests.search_count([]), before)
        return raised.exception.args[0]

    def test_each_fault_is_named(self):
        """A friendly line says what is wrong, and nothing is written."""
        for words, vals in {
            "Write a prompt": {"prompt": "  \n "},
            "at most 32000 characters": {"prompt": "x" * 32_001},
            "at most 32000": {"negative_prompt": "x" * 32_001},
            "makes no images of 512x512": {"resolution": "512x512"},
            "makes no images of x": {"resolution": "x"},
            "Cheap does not take a negative prompt": {
                "model_id": self.cheap.id,
                "negative_prompt": "rain",
            },
            "Cheap does not take a seed": {"model_id": self.cheap.id, "seed": "7"},
            "Cheap does not take steps": {"model_id": self.cheap.id, "inference_steps": 7},
            "Cheap does not take a guidance scale": {"model_id": self.cheap.id, "cfg_scale": 7},
            "The seed must be": {"seed": "-1"},
            "The seed must be a": {"seed": "1.5"},
            "The seed must be a whole": {"seed": "٣"},
            "The seed must be a whole number from 0": {"seed": str(2**63)},
            "The steps must be 1 to 30": {"inference_steps": 31},
            "The steps must be": {"inference_steps": -1},
            "The guidance scale must be 0 to 50": {"cfg_scale": 50.5},
            "The guidance scale must be": {"cfg_scale": -0.5},
            "The campaign must be a UUID": {"campaign_uuid": "a campaign"},
            "Choose a model": {"model_id": 0},
            "Choose a": {"model_id": 2**40},
            "Unknown: state": {"state": "completed"},
        }.items():
            with self.subTest(vals={name: str(value)[:30] for name, value in vals.items()}):
                self.assertIn(words, self._refused(**vals))

    def test_all_faults_are_named_at_once(self):
        """One line each."""
        said = self._refused(
            prompt="", seed="x", inference_steps=99, cfg_scale=51, campaign_uuid="?"
        )
        self.assertEqual(said, "Write a prompt.")  # without one there is nothing to look at
        said = self._refused(
            prompt="a", seed="x", inference_steps=99, cfg_scale=51, campaign_uuid="?"
        )
        self.assertEqual(len(said.splitlines()), 4)

    def test_what_cannot_be_written_is_refused_or_made_fit(self):
        """Neither a wrong type nor what the database cannot hold is a fault of the server."""
        for vals in (
            {"prompt": ["a fox"]},
            {"prompt": {"a": 1}},
            {"negative_prompt": 7},
            {"resolution": ["1024x1024"]},
            {"inference_steps": "7"},
            {"inference_steps": 2**40},
            {"inference_steps": 1.5},
            {"inference_steps": True},
            {"cfg_scale": float("nan")},
            {"cfg_scale": float("inf")},
            {"cfg_scale": "7"},
            {"seed": ["7"]},
            {"campaign_uuid": 7},
            {"client_reference": ["x"]},
            {"origin": "elsewhere"},
            {"origin": ["portal"]},
            {"model_id": [1]},
        ):
            with self.subTest(vals=vals):
                self._refused(**vals)
        made = self.asks(
            model_id=self.full.id,
            prompt="a\0 fox \ud83d",
            negative_prompt="\0",
            client_reference="\0",
        )
        self.assertEqual((made.prompt, made.negative_prompt), ("a fox ?", False))
        self.assertFalse(made.client_reference)

    def test_bounds_are_taken(self):
        """The last sound value on each side."""
        made = self.asks(
            model_id=self.full.id,
            prompt="x" * 32_000,
            negative_prompt="y" * 32_000,
            seed=str(2**63 - 1),
            inference_steps=30,
            cfg_scale=50,
            campaign_uuid=SOUND_UUID,
            resolution="1536x1024",
        )
        self.assertEqual(made.event["seed"], 2**63 - 1)
        self.assertEqual(made.event["aspectRatio"], "3:2")
        self.assertEqual(self.asks(model_id=self.full.id, seed="0").event["seed"], 0)

    def test_a_model_must_be_on_offer(self):
        """Neither an archived model nor another company's."""
        self.full.active = False
        self.assertIn("not available", self._refused())
        self.full.active = True
        self.full.company_ids = self.env["res.company"].create({"name": "Elsewhere"})
        self.assertIn("not available", self._refused())

    def test_a_model_with_sizes_that_are_none_is_not_kept(self):
        """Users cannot choose what Duragen would refuse."""
        for field, value in {
            "resolutions": "1024 x 1024",
            "model_uuid": "flux",
            "price": -1,
            "max_steps": 201,
        }.items():
            with self.subTest(field=field), self.assertRaises(ValidationError):
                self.full[field] = value
        for size in ("63x64", "64x4097", "", "\n"):
            with self.subTest(size=size), self.assertRaises(ValidationError):
                self.full.resolutions = size


@tagged("post_install", "-at_install")
class TestEvent(DuragenCase):
    """EVT-AIG-001 is written down once."""

    def test_it_holds_what_was_asked_for_and_nothing_else(self):
        """Required fields alone; absent ones are not there."""
        made = self.asks(prompt="  a fox\nat dawn ")
        self.assertEqual(
            made.event,
            {
                "requestId": made.request_uuid,
                "correlationId": made.correlation_uuid,
                "userId": made.user_uuid,
                "prompt": "a fox\nat dawn",
                "modelId": CHEAP,
                "resolution": "1024x1024",
                "aspectRatio": "1:1",
                "callbackUrl": "https://odoo.example/duragen/v1/callback",
            },
        )
        for name in ("requestId", "correlationId", "userId"):
            self.assertEqual(str(uuid.UUID(made.event[name])), made.event[name])
        self.assertNotEqual(made.request_uuid, made.correlation_uuid)

    def test_it_holds_every_option(self):
        """Numbers as numbers."""
        made = self.asks(
            model_id=self.full.id,
            negative_prompt="rain",
            seed="007",
            inference_steps=20,
            cfg_scale=7.5,
            campaign_uuid=SOUND_UUID,
            aspect_ratio="16:9",  # does not agree with the size, which wins
        )
        options = {
            "negativePrompt": "rain",
            "seed": 7,
            "inferenceSteps": 20,
            "cfgScale": 7.5,
            "campaignId": SOUND_UUID,
            "aspectRatio": "1:1",
            "modelId": FULL,
        }
        self.assertEqual(made.event, {**made.event, **options})
        self.assertEqual(len(made.event), 13)

    def test_nothing_changes_it(self):
        """Not the settings, not the catalogue: Duragen would take another event for a conflict."""
        made = self.asks()
        before = json.dumps(made.event, sort_keys=True)
        self.set_up(callback_base_url="https://elsewhere.example")
        self.cheap.write({"model_uuid": SOUND_UUID, "resolutions": "64x64"})
        self.env.flush_all()
        made.invalidate_recordset()
        self.assertEqual(json.dumps(made.event, sort_keys=True), before)

    def test_a_user_is_the_same_each_time(self):
        """And no other user has the same id."""
        first, second, other = self.asks(), self.asks(), self.asks(self.bert)
        self.assertEqual(first.user_uuid, second.user_uuid)
        self.assertNotEqual(first.user_uuid, other.user_uuid)


@tagged("post_install", "-at_install")
class TestAgain(DuragenCase):
    """The same once more, on purpose or not."""

    def test_the_same_reference_is_the_same_request(self):
        """Paid for once, however it is spelled; for another image it is refused."""
        asked = {"client_reference": "order 7", "negative_prompt": "people", "seed": "7"}
        first = self.asks(model_id=self.full.id, **asked)
        spelled = {**asked, "negative_prompt": " people ", "seed": "007"}
        self.assertEqual(self.asks(model_id=self.full.id, **spelled), first)
        with self.assertRaises(ConflictError):
            self.asks(model_id=self.full.id, **asked, prompt="another")
        self.assertEqual(self.booked(first), [("reserve", -first.price)])
        self.assertEqual(self.balance(), CREDITS - first.price)

    def test_a_reference_is_its_users_own(self):
        """Two may have the same."""
        self.assertNotEqual(
            self.asks(client_reference="order 7"), self.asks(self.bert, client_reference="order 7")
        )

    def test_no_reference_is_not_a_reference(self):
        """Two requests without one are two, however that is said."""
        for nothing in ("", False, None):
            with self.subTest(nothing=nothing):
                first = self.asks(self.bert, client_reference=nothing)
                again = self.asks(self.bert, client_reference=nothing)
                self.assertNotEqual(again, first)
                self.taken_back(first)
                self.taken_back(again)

    def test_a_known_reference_is_answered_without_credits_left(self):
        """It was paid for."""
        first = self.asks(client_reference="order 7")
        self.grant(self.anna, -self.balance())
        self.assertEqual(self.asks(client_reference="order 7"), first)

    def test_trying_again_is_a_request_of_its_own(self):
        """With new ids; the owner pays for it again."""
        old = self.asks(model_id=self.full.id, seed="7", client_reference="order 7")
        self.deliver(self.failed(old))
        opened = old.with_user(self.manager).action_retry()
        new = self.requests.browse(opened["res_id"])
        self.assertEqual((new.state, new.retry_of_id, new.user_id), ("requested", old, self.anna))
        for name in ("request_uuid", "correlation_uuid"):
            self.assertNotEqual(new[name], old[name])
        ids = {"requestId": new.request_uuid, "correlationId": new.correlation_uuid}
        self.assertEqual(new.event, {**old.event, **ids})
        self.assertFalse(new.client_reference)
        self.assertEqual(self.balance(), CREDITS - 3)
        self.assert_ledger()

    def test_only_what_ended_badly_is_tried_again(self):
        """Not a waiting request, and not one that has an image."""
        made = self.asks()
        with self.assertRaises(UserError):
            made.action_retry()
        self.deliver(self.completed(made))
        with self.assertRaises(UserError):
            made.action_retry()

    def test_a_submission_happens_once(self):
        """The second press of the button is refused."""
        draft = self.draft()
        draft.action_submit()
        with self.assertRaises(UserError):
            draft.action_submit()
        self.assertEqual(self.booked(draft.sudo()), [("reserve", -2)])

    def test_of_several_drafts_all_or_none_are_submitted(self):
        """One that is refused refuses the others."""
        drafts = self.draft() + self.draft(prompt=" ")
        with self.assertRaises(ValidationError):
            drafts.action_submit()
        drafts.invalidate_recordset()
        self.assertEqual(drafts.mapped("state"), ["draft", "draft"])
        self.assertEqual(self.balance(), CREDITS)


@tagged("post_install", "-at_install")
class TestWhoseItIs(DuragenCase):
    """What belongs to the addon, and what to somebody else."""

    def test_anothers_draft_is_not_submitted(self):
        """Except by a manager; the owner pays."""
        draft = self.draft()
        with self.assertRaises(AccessError):
            draft.with_user(self.bert).action_submit()
        draft.with_user(self.manager).action_submit()
        self.assertEqual(draft.sudo().event["userId"], self.asks().event["userId"])
        self.assertEqual(self.balance(self.manager), CREDITS)
        self.assertEqual(self.balance(), CREDITS - 4)

    def test_defaults_of_ones_own_do_not_reach_the_ledger(self):
        """Neither by the context of a call nor by the defaults that a user may keep."""
        wanted = {
            "state": "requested",
            "charged": True,
            "price": 0,
            "next_start_at": "2020-01-01 00:00:00",
            "event": {"a": 1},
            "user_id": self.bert.id,
            "request_uuid": SOUND_UUID,
            "client_reference": "order 7",
        }
        sound = self.draft().sudo()
        as_anna = self.env[REQUEST].with_user(self.anna)
        context = {f"default_{name}": value for name, value in wanted.items()}
        vals = {"prompt": "a fox", "model_id": self.cheap.id}
        by_context = as_anna.with_context(**context).create(vals)
        defaults = self.env["ir.default"].with_user(self.anna)
        for name, value in wanted.items():
            field = self.env["ir.model.fields"]._get(REQUEST, name)
            defaults.create(
                {"field_id": field.id, "json_value": json.dumps(value), "user_id": self.anna.id}
            )
        self.env.registry.clear_cache()
        by_default = as_anna.create(vals)
        submitted = as_anna.with_context(**context).submit_generation(vals).sudo()
        for made in (by_context.sudo(), by_default.sudo()):
            for name in wanted.keys() - {"request_uuid"}:
                self.assertEqual(made[name], sound[name], name)
            self.assertNotEqual(made.request_uuid, SOUND_UUID)
        self.assertEqual((submitted.user_id, submitted.price), (self.anna, 2))
        self.assertNotEqual(submitted.request_uuid, SOUND_UUID)
        self.assertFalse(submitted.client_reference)

    def test_a_context_brings_no_lines_of_ones_own(self):
        """Neither somebody's image nor an entry in the ledger comes with a new request."""
        theirs = self.asks(self.bert)
        self.deliver(self.completed(theirs))
        account = self.asks().entry_ids.account_id
        line = {"account_id": account.id, "kind": "grant", "delta": 1000}
        for context in (
            {"default_image_ids": [(4, theirs.image_ids.id)]},
            {"default_image_ids": [(6, 0, theirs.image_ids.ids)]},
            {"default_image_ids": theirs.image_ids.ids},
            {"default_entry_ids": [(0, 0, line)]},
            {"default_user_id": self.bert.id, "default_kind": "grant", "default_delta": 1000},
        ):
            with self.subTest(context=context):
                as_anna = self.env[REQUEST].with_user(self.anna).with_context(**context)
                vals = {"prompt": "a fox", "model_id": self.cheap.id}
                for made in (as_anna.submit_generation(vals).sudo(), as_anna.create(vals).sudo()):
                    self.env.flush_all()
                    self.env.invalidate_all()
                    self.assertFalse(made.image_ids)
                    self.assertLessEqual(self.booked(made), [("reserve", -2)])
                    self.assertLessEqual(made.entry_ids.user_id, self.anna)
                    if made.state == "requested":
                        self.taken_back(made)
        self.assertEqual(theirs.image_ids.user_id, self.bert)
        self.assert_ledger()

    def test_a_draft_can_be_duplicated(self):
        """By its owner; the copy has ids of its own."""
        draft = self.draft(prompt="a badger")
        copy = draft.copy()
        self.assertEqual((copy.prompt, copy.state, copy.user_id), ("a badger", "draft", self.anna))
        self.assertNotEqual(copy.request_uuid, draft.request_uuid)

    def test_protected_fields_are_refused_by_name(self):
        """In a create as in a write."""
        draft = self.draft()
        for name, value in {"state": "completed", "price": 0, "origin": "api"}.items():
            with self.subTest(field=name):
                with self.assertRaisesRegex(AccessError, name):
                    draft.write({name: value})
                with self.assertRaisesRegex(AccessError, name):
                    self.draft(**{name: value})
