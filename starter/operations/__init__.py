"""What operators do with generations that wait for a person, for any entry point.

    parked.py      deliveries that Odoo has not taken: list, try again, give up
    failed.py      generations that failed: list
    rerun.py       run an ended generation again, from where nothing is paid for twice
    resetting.py   where that is in its history, and the reset
    bulk.py        one operation for thousands: bounded, and none stops the rest
    connection.py  a client from the `TEMPORAL_*` variables

Lists come from Temporal's visibility: they need no worker, and are some moments behind. Whatever
changes something asks the generation itself.
"""
