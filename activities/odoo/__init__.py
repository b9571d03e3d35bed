"""Delivering an outcome to Odoo, by callback or by RPC."""
