from . import (
    test_api,
    test_ledger,
    test_outbox,
    test_outcome,
    test_reconciliation,
    test_security,
    test_settings,
    test_signatures,
    test_submission,
    test_translation,
    test_views,
    test_wire,
)
