"""The developer API: API users of an Odoo, whose keys, quotas, prices and credits it decides."""
