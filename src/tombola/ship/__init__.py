"""Tickets outside of this package: in other training loops, in other formats, on the hub."""

import tombola.ship.sharing  # noqa: F401 - registers what Ticket.from_pretrained and push_to_hub use
