"""Silence for the libraries that load networks and data, while they do."""

from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR

from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from transformers.utils import logging

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' and the hub's progress bars and reports, within the block only.

    HF_HUB_DISABLE_PROGRESS_BARS=0 in the environment asks for the bars and keeps them.
    """
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_shown = not are_progress_bars_disabled()
    mine = HF_HUB_DISABLE_PROGRESS_BARS is None
    logging.set_verbosity(max(level, ERROR))
    if mine:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if mine and shown:
            logging.enable_progress_bar()
        if mine and hub_shown:
            enable_progress_bars()
        elif mine:
            disable_progress_bars()
