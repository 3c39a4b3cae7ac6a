"""The jobs of a plan, carried out by this process, by workers or by Ray."""
