"""What the tests of the core share: people, models, events, and a gateway with set answers."""

import base64
import hashlib
import json
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from odoo.tests import TransactionCase, new_test_user

from .. import after_commit

CHEAP, FULL = "0c3a6f7e-5a0b-4b8e-9a55-3d1f0d8b6c01", "0c3a6f7e-5a0b-4b8e-9a55-3d1f0d8b6c02"
# Not those of the demo data, which may be there or not.
CREDITS = 10
IMAGE = b"\x89PNG\r\n\x1a\n, or so"
UNREACHABLE = "http://127.0.0.1:1"
"""Where no server listens."""

CLOSED = {"status": "failed", "errorMessage": "the service is down", "errorCode": "JOB_LOST"}
REFUSED = {"status": "failed", "errorMessage": "a nude", "errorCode": "POLICY_INPUT"}
PAID = {
    "status": "failed",
    "errorMessage": "canceled",
    "errorCode": "CANCELED",
    "errorType": "canceled",
    "mayHaveBeenPaid": True,
}
TAKEN_BACK = {**PAID, "mayHaveBeenPaid": False}


class DuragenCase(TransactionCase):
    """Two users with ten credits each, a manager and a gateway where no server listens."""

    @classmethod
    def setUpClass(cls):
        """See the class."""
        super().setUpClass()
        cls.set_up(
            initial_credits=CREDITS,
            user_errors="release",
            user_cancellations="capture",
            api_rate_per_minute=1_000,
            image_storage="odoo",
            start_path="gateway",
            gateway_url=UNREACHABLE,
            gateway_key="a key",
            callback_base_url="https://odoo.example",
        )
        cls.anna, cls.bert, cls.manager, cls.gateway_user = (
            new_test_user(cls.env, f"core_{login}", groups, context={"no_reset_password": True})
            for login, groups in {
                "anna": "duragen.group_user",
                "bert": "duragen.group_user",
                "manager": "duragen.group_manager",
                "gateway": "base.group_user,duragen.group_gateway",
            }.items()
        )
        models = cls.env["duragen.ai.model"]
        cls.cheap = models.create(
            {"name": "Cheap", "model_uuid": CHEAP, "price": 2, "allow_seed": False}
        )
        cls.full = models.create(
            {
                "name": "Full",
                "model_uuid": FULL,
                "price": 3,
                "resolutions": "1024x1024\n1536x1024",
                "max_steps": 30,
                **dict.fromkeys(
                    ("allow_negative_prompt", "allow_seed", "allow_steps", "allow_cfg_scale"), True
                ),
            }
        )

    @classmethod
    def set_up(cls, **settings):
        """Change settings of the addon."""
        for name, value in settings.items():
            cls.env["ir.config_parameter"].sudo().set_param(f"duragen.{name}", str(value))

    @contextmanager
    def own_cursors_are_ours(self):
        """Whatever opens a cursor of its own works on the test's, inside the block."""
        self.env.flush_all()
        if hasattr(self, "enter_registry_test_mode"):
            with self.enter_registry_test_mode():
                yield
        else:  # Odoo 18
            self.registry.enter_test_mode(self.cr)
            try:
                yield
            finally:
                self.registry.leave_test_mode()
        self.env.invalidate_all()

    @property
    def requests(self):
        """All requests, as the superuser."""
        return self.env["duragen.generation.request"].sudo()

    def asks(self, user=None, **vals):
        """A submitted request, as the superuser sees it."""
        as_user = self.requests.with_user(user or self.anna).sudo(False)
        vals = {"prompt": "a fox at dawn", "model_id": self.cheap.id, **vals}
        return as_user.submit_generation(vals).sudo()

    def draft(self, user=None, **vals):
        """A draft, as its user sees it."""
        as_user = self.env["duragen.generation.request"].with_user(user or self.anna)
        return as_user.create({"prompt": "a fox", "model_id": self.cheap.id, **vals})

    def grant(self, user, number):
        """Add credits to a user's account."""
        wizard = self.env["duragen.grant.credits"]
        wizard.create({"user_id": user.id, "credits": number}).action_grant()

    def balance(self, user=None):
        """What the account holds; if there is none yet, what a user begins with."""
        self.env.flush_all()
        account = self.env["duragen.account"].search([("user_id", "=", (user or self.anna).id)])
        account.invalidate_recordset()
        return account.balance if account else CREDITS

    def booked(self, request):
        """Kind and effect of each of a request's entries, in their order."""
        return [(each.kind, each.delta) for each in request.entry_ids.sorted("id")]

    def assert_ledger(self):
        """Every balance is the sum of its entries, and `charged` says what the entries say."""
        self.env.flush_all()
        self.env.cr.execute(
            "SELECT a.id FROM duragen_account a LEFT JOIN duragen_credit_entry e"
            " ON e.account_id = a.id GROUP BY a.id"
            " HAVING a.balance IS DISTINCT FROM coalesce(sum(e.delta), 0)"
        )
        self.assertEqual(self.env.cr.fetchall(), [], "a balance is not the sum of its entries")
        for request in self.requests.search([("state", "!=", "draft")]):
            paid = -sum(request.entry_ids.mapped("delta"))
            self.assertEqual(paid, request.price if request.charged else 0, self.booked(request))

    def completed(self, request, data=IMAGE, **changes):
        """EVT-AIG-002 of a request, with the image inside."""
        return {
            "requestId": request.request_uuid,
            "correlationId": request.correlation_uuid,
            "status": "completed",
            "imageMetadata": {"format": "png", "size": len(data), "width": 8, "height": 9},
            "hashValue": hashlib.sha256(data).hexdigest(),
            "imageData": base64.b64encode(data).decode(),
            **changes,
        }

    def failed(self, request, outcome=None):
        """EVT-AIG-003 of a request."""
        ids = {"requestId": request.request_uuid, "correlationId": request.correlation_uuid}
        return {**ids, **(outcome or CLOSED)}

    def deliver(self, event):
        """What `apply_event` returns: applied or repeated."""
        return self.requests.apply_event(event)["status"]

    def taken_back(self, made, user=None):
        """Cancel a waiting request that Duragen does not know."""
        made.with_user(user or self.env.user).action_cancel()
        with self.gateway(UNKNOWN):
            made._start()
        self.assertEqual(made.state, "canceled")

    @contextmanager
    def gateway(self, *answers, after_seconds=0):
        """A gateway that gives these answers, (status, body); the last one again and again."""
        server = Gateway(answers or [(202, None)], after_seconds)
        after_commit._quiet_until.clear()
        with server, server.serving():
            self.set_up(gateway_url=server.url)
            yield server
        self.set_up(gateway_url=UNREACHABLE)
        after_commit._quiet_until.clear()


def problem(status, name, detail):
    """An answer of the gateway that refuses."""
    return status, {"type": f"urn:duragen:problem:{name}", "detail": detail}


UNKNOWN = problem(404, "not_found", "there is no such generation")


class Gateway(ThreadingHTTPServer):
    """Speaks as much of the gateway's API as its client needs; `calls` has what it was asked."""

    daemon_threads = True

    def __init__(self, answers, after_seconds=0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.after_seconds = after_seconds
        self.calls = []
        self.lock = threading.Lock()

    @property
    def url(self):
        """Its origin."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @contextmanager
    def serving(self):
        """Serve until the block ends."""
        thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def _any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or "null")
        server = self.server
        with server.lock:
            server.calls.append((self.command, self.path, body))
            status, answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        time.sleep(server.after_seconds)
        request_id = (body or {}).get("requestId") or self.path.rpartition("/")[2]
        known = {
            "requestId": request_id,
            "workflowId": f"generation-{request_id}",
            "runId": "a run",
            "created": True,
            "cancelRequested": True,
        }
        raw = json.dumps({**known, **(answer or {})} if status < 300 else (answer or {})).encode()
        with suppress(ConnectionError):  # the caller has left
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = _any  # noqa: N815  # the base class's names

    def log_message(self, *_):
        """Say nothing."""
