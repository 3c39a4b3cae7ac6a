"""Text of plan files, for tests that read them."""

__all__ = ["DENSE_ARM", "TICKETS", "grown"]

TICKETS = "tickets: {kind: imp, sparsity: 0.5, step: 0.25}"
DENSE_ARM = "arms: {a: {kind: dense}}\n"


def grown(text: str) -> str:
    """The arms of a plan of two tasks and two seeds, the first of them in line 5."""
    top = "version: 1\ntasks: [sentiment, mlm]\nseeds: [0, 1]\narms:\n"
    return top + "".join(f"  {line}\n" for line in text.split("\n"))
