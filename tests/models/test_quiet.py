"""Loading a network shows nothing and leaves the user's own settings as they were."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from logging import ERROR, INFO
from pathlib import Path

import pytest
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from transformers import AutoModel
from transformers.utils import logging

from tombola.models.loading import load_with
from tombola.models.quiet import quiet


@pytest.fixture(autouse=True)
def nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process whose environment has no word about progress bars."""
    name = "HF_HUB_DISABLE_PROGRESS_BARS"
    monkeypatch.setattr(sys.modules["huggingface_hub.utils.tqdm"], name, None)
    monkeypatch.setattr(f"tombola.models.quiet.{name}", None)
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    yield
    logging.set_verbosity(level)
    if not shown:
        logging.disable_progress_bar()


def switches() -> tuple[bool, bool, int]:
    return (
        logging.is_progress_bar_enabled(),
        not are_progress_bars_disabled(),
        logging.get_verbosity(),
    )


@pytest.mark.parametrize("bars", [True, False])
def test_everything_is_as_before_afterwards_also_after_an_error(bars: bool) -> None:
    logging.set_verbosity(INFO)
    if not bars:
        logging.disable_progress_bar()
    seen = []
    with suppress(ZeroDivisionError), quiet():
        seen.append(switches())
        raise ZeroDivisionError
    assert seen == [(False, False, ERROR)]
    assert switches() == (bars, bars, INFO)


def test_bars_that_the_environment_asks_for_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tombola.models.quiet.HF_HUB_DISABLE_PROGRESS_BARS", False)
    with quiet():
        assert switches()[:2] == (True, True)


def test_loading_prints_nothing(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = switches()
    load_with(AutoModel.from_pretrained, str(tiny))
    assert capfd.readouterr() == ("", "")
    assert switches() == before
