"""Duragen's clients: the very files of its folder `starter/`. Import them where they are used.

`client` needs the package `temporalio` only to talk to Temporal; over the gateway nothing beyond
Odoo's own Python is needed.
"""
