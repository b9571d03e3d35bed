"""The wire: what an event must be before anything of it is believed."""

import base64

from odoo.tests import BaseCase, tagged

from ..wire import WireError, parse_outcome

IDS = {
    "requestId": "7f0c9a52-3c1e-4a77-9a54-0f5b8f1d2a10",
    "correlationId": "5d2f6a7e-58a2-4d55-9f0e-6c1f0a3b7c11",
}
METADATA = {"format": "png", "size": 3, "width": 1, "height": 2}
BY_LINK = {
    **IDS,
    "status": "completed",
    "imageMetadata": METADATA,
    "hashValue": "ab" * 32,
    "imageUrl": "https://s3.example/b/k?x=1",
}
FAILED = {**IDS, "status": "failed", "errorMessage": "down"}


def faults_of(event):
    """The faults that are named, by field."""
    try:
        parse_outcome(event)
    except WireError as error:
        return [fault.partition(":")[0] for fault in error.faults]
    return []


@tagged("post_install", "-at_install")
class TestWire(BaseCase):
    """parse_outcome."""

    def test_a_completed_one(self):
        """Everything as it was sent, in one spelling."""
        event = {**BY_LINK, "requestId": IDS["requestId"].upper(), "hashValue": "AB" * 32}
        found = parse_outcome({**event, "imageMetadata": {**METADATA, "format": "PNG"}})
        self.assertEqual((found.request_id, found.state), (IDS["requestId"], "completed"))
        image = found.image
        self.assertEqual((image.format, image.size, image.width, image.height), ("png", 3, 1, 2))
        self.assertEqual((image.sha256, image.url), ("ab" * 32, BY_LINK["imageUrl"]))
        self.assertIsNone(image.data)

    def test_data_instead_of_a_link(self):
        """Base64 and nothing but base64."""
        event = {**BY_LINK, "imageUrl": None, "imageData": base64.b64encode(b"abc").decode()}
        self.assertEqual(parse_outcome(event).image.data, b"abc")
        for wrong in ("a", "YWJj!", "YW Jj", 7, {}):
            with self.subTest(wrong=wrong):
                self.assertTrue(faults_of({**event, "imageData": wrong}))

    def test_unknown_fields_are_ignored(self):
        """The events grow."""
        self.assertEqual(faults_of({**BY_LINK, "more": {"a": [1]}, "payloadVersion": "1.7"}), [])

    def test_versions(self):
        """The meaning of another major version is not known."""
        for version in (None, "1", "1.0", "1.2.3"):
            self.assertEqual(faults_of({**FAILED, "payloadVersion": version}), [], version)
        for version in ("2", "2.0", "10", "0", "1.", "v1", "1.0.0.0", 1, "x" * 10_000):
            found = faults_of({**FAILED, "payloadVersion": version})
            self.assertEqual(found, ["payloadVersion"], version)

    def test_each_fault(self):
        """Named by its field, whatever is wrong with it."""
        nothing = object()
        for field, wrongs in {
            "requestId": (
                nothing,
                None,
                "",
                7,
                "x",
                IDS["requestId"] + "0",
                "{" + IDS["requestId"] + "}",
            ),
            "correlationId": (nothing, [], IDS["correlationId"].replace("-", "")),
            "imageMetadata": (nothing, None, "png", []),
            "hashValue": (nothing, None, "", "ab", "zz" * 32, 7),
            "imageUrl": (
                7,
                "",
                "ftp://x/y",
                "//x/y",
                "https://",
                "http://[::1",
                "javascript:alert(1)",
            ),
            "status": (nothing, None, "COMPLETED", "done", 1, ["completed"]),
        }.items():
            for wrong in wrongs:
                with self.subTest(field=field, wrong=wrong):
                    event = {**BY_LINK, field: wrong}
                    if wrong is nothing:
                        del event[field]
                    found = " ".join(faults_of(event))
                    self.assertIn(field, found)

    def test_figures(self):
        """Whole numbers from 1; a float that is whole is one."""
        for field in ("size", "width", "height"):
            for wrong in (0, -1, 1.5, True, "1", None, 10**12, float("nan"), float("inf")):
                with self.subTest(field=field, wrong=wrong):
                    event = {**BY_LINK, "imageMetadata": {**METADATA, field: wrong}}
                    self.assertEqual(faults_of(event), [f"imageMetadata.{field}"])
        event = {**BY_LINK, "imageMetadata": {**METADATA, "size": 3.0}}
        self.assertEqual(parse_outcome(event).image.size, 3)

    def test_a_format_is_a_short_name(self):
        """It becomes a file's ending."""
        for wrong in ("a/b", "", "x" * 21, "p\nng", 7, None, "pñg"):
            event = {**BY_LINK, "imageMetadata": {**METADATA, "format": wrong}}
            self.assertEqual(faults_of(event), ["imageMetadata.format"], wrong)

    def test_just_one_place_for_the_image(self):
        """An event with both, or with none, is refused."""
        data = base64.b64encode(b"abc").decode()
        self.assertEqual(faults_of({**BY_LINK, "imageData": data}), ["imageData, imageUrl"])
        self.assertEqual(faults_of({**BY_LINK, "imageUrl": None}), ["imageData, imageUrl"])

    def test_a_failed_one(self):
        """Texts, flags and the code; nothing but ids and a message is required."""
        found = parse_outcome({**FAILED, "errorCode": "JOB_LOST", "retrySuggestion": True}).failure
        self.assertEqual(
            (found.code, found.message, found.retry_suggestion), ("JOB_LOST", "down", True)
        )
        self.assertEqual(faults_of({**FAILED, "errorMessage": ""}), [])
        for field in ("isSystemError", "isUserError", "retrySuggestion"):
            self.assertEqual(faults_of({**FAILED, field: "true"}), [field])
        for field in ("errorMessage", "errorCode", "errorType", "userMessage"):
            self.assertEqual(faults_of({**FAILED, field: 7}), [field])
        self.assertEqual(faults_of({**IDS, "status": "failed"}), ["errorMessage"])

    def test_a_canceled_one(self):
        """It is a failure with its own state."""
        self.assertEqual(parse_outcome({**FAILED, "errorCode": "CANCELED"}).state, "canceled")
        self.assertEqual(parse_outcome({**FAILED, "errorCode": "canceled"}).state, "failed")

    def test_whose_fault_it_was(self):
        """The policy decides on the users' faults alone; a cancellation has one of its own."""
        for more, by_policy in (
            ({}, False),
            ({"errorCode": "JOB_LOST"}, False),
            ({"errorCode": "NEW_CODE"}, False),
            ({"errorCode": "POLICY_OUTPUT"}, True),
            ({"errorCode": "INVALID_INPUT"}, True),
            ({"errorCode": "CANCELED"}, False),
            ({"errorCode": "NEW_CODE", "errorType": "user"}, True),
            ({"errorCode": "NEW_CODE", "isUserError": True}, True),
            ({"errorCode": "POLICY_INPUT", "isSystemError": True}, False),
            ({"errorType": "configuration"}, False),
        ):
            with self.subTest(more=more):
                self.assertEqual(parse_outcome({**FAILED, **more}).failure.by_policy, by_policy)

    def test_what_is_no_object(self):
        """Whatever JSON holds."""
        for event in (None, True, 7, 1.5, "x", [], [BY_LINK]):
            with self.assertRaises(WireError):
                parse_outcome(event)
        self.assertEqual(len(faults_of({})), 3)
