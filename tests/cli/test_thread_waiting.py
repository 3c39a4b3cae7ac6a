"""Threads hardly spin, and not at all on a busy machine; the user's word goes before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tombola
from tombola.cli.thread_waiting import NAMES, load_share, waiting

SHORT, NONE = {"GOMP_SPINCOUNT": "10000"}, {"OMP_WAIT_POLICY": "PASSIVE"}


def test_threads_wait_passively_only_where_others_use_the_machine() -> None:
    assert waiting({}, 0.0) == waiting({}, 0.2) == SHORT
    assert waiting({}, 0.5) == waiting({"OMP_NUM_THREADS": "2"}, 3.0) == NONE


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_says_of_waiting_holds(name: str) -> None:
    assert waiting({name: ""}, 9.0) == {}


def test_a_machine_that_counts_no_load_is_taken_for_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", refuse)
    assert load_share() == 0.0
    monkeypatch.setattr(os, "getloadavg", lambda: (2.0, 0.0, 0.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert load_share() == 0.5


def test_the_command_line_says_how_to_wait_before_torch_is_loaded() -> None:
    """And workers, which are its children, inherit it."""
    script = (
        "import os, sys, tombola.cli.main as cli, tombola.cli.verbs.catalog as catalog\n"
        "os.getloadavg = lambda: (1e3, 0.0, 0.0)\n"
        "seen = []\n"
        "catalog.VERBS['tasks'] = (lambda parser: None, lambda options: seen.append("
        "(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)))\n"
        "cli.main(['tasks'])\n"
        "print(seen)\n"
    )
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    kept["PYTHONPATH"] = str(Path(tombola.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[('PASSIVE', False)]\n"
