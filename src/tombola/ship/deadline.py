"""An end to transfers that the other side doesn't end."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from tombola.base.errors import TicketError

__all__ = ["TRANSFER_SECONDS", "within_limit"]

TRANSFER_SECONDS = 1800.0
"""How long a transfer may take in all, however slowly the other side answers."""

T = TypeVar("T")


def within_limit(place: str, transfer: Callable[[], T]) -> T:
    """What a transfer returns, unless it takes longer than TRANSFER_SECONDS.

    One that does is left behind in a thread that doesn't keep the process alive.

    Raises: TicketError, after that time.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(transfer())
        except BaseException as error:
            result.set_exception(error)

    Thread(target=run, daemon=True).start()
    try:
        return result.result(TRANSFER_SECONDS)
    except TimeoutError:
        if result.done():
            raise
        raise TicketError(
            f"expected {place} to answer within {TRANSFER_SECONDS:g} seconds in all, got no end of "
            "its answer. Try again later."
        ) from None
