"""Linear layers that keep the weights of a ticket that live, and skip the others."""
