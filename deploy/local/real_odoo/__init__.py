"""A real Odoo 19 beside the embedded stack: Debian's package, a database server, our addon."""
