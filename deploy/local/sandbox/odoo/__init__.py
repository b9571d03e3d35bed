"""The sandbox Odoo: callback, JSON-RPC, accounts in credits."""
