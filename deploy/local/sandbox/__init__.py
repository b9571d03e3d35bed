"""Servers that stand in for the real ones: image services, Odoo, notifications and alerts."""
