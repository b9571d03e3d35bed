"""What it takes to run: the embedded stack, and later Odoo's addon and cluster files."""
