"""Networks that a ticket has made smaller or faster, with the same outputs."""
