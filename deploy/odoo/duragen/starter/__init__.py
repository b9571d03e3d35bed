"""Duragen's clients: the same files as in its folder `starter/`. Import them where they are used.

`client` needs the package `temporalio` only to talk to Temporal; over the gateway nothing beyond
Odoo's own Python is needed.
"""
