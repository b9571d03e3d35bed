"""What installing made that Odoo itself does not take away again."""


def uninstall_hook(env):
    """Drop the function behind the ledger's trigger; the tables go by themselves."""
    env.cr.execute("DROP FUNCTION IF EXISTS duragen_credit_entry_stays() CASCADE")
