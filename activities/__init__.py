"""The side effects: image services, the store, Odoo, notifications. Each may run twice."""
