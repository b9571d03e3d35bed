"""What all parts need to speak to others: HTTP, Odoo's RPC, Temporal, and the settings."""
