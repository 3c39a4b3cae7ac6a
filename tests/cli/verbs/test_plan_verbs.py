"""The verbs of a plan: what is refused before any job, and when nobody works on it any more."""

import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from command_line import Cli, refusal
from tombola.cli.verbs.plans import IDLE_LOOKS, WATCH
from tombola.lab.store.result_store import Store

PLAN = """\
version: 1
model: {model}
tasks: {{sentiment: {{data: {data}}}}}
train: {{epochs: 1, batch_size: 16}}
arms: {{whole: {{kind: dense}}}}
"""


@pytest.fixture
def plan(tiny: Path, reviews: Path, cli: Cli) -> Path:
    """A plan of one training, and a store with nothing in it."""
    del cli  # whose folder it is in
    file = Path("mine.yaml")
    file.write_text(PLAN.format(model=tiny, data=reviews), encoding="utf-8")
    Store("kept")
    return file


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--track", "nosuch"], "there is no tracker 'nosuch'"),
        (["--engine", "nosuch"], "there is no engine 'nosuch'"),
        (
            ["--engine", "ray", "--ray-address", "127.0.0.1:1"],
            "expected a Ray cluster at 127.0.0.1",
        ),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(
    plan: Path, cli: Cli, words: list[str], message: str
) -> None:
    if "ray" in words:
        pytest.importorskip("ray")
    refused = refusal(cli("run", plan, "--store", "kept", "--dry-run", *words))
    assert refused.startswith(message)
    assert refused == refusal(cli("run", plan, "--store", "kept", *words))


def test_a_watch_ends_where_no_process_works_on_the_plan(
    plan: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[int] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=time.monotonic)
    monkeypatch.setattr("tombola.cli.verbs.plans.time", clock)
    status, shown, errors = cli("status", plan, "--store", "kept", "--watch")
    assert (status, errors, slept) == (1, "", [WATCH] * (IDLE_LOOKS - 1))
    assert shown.splitlines()[-1] == (
        "no process works on it: 1 job left, failed or not tried. "
        "`tombola run mine.yaml --store kept` continues it."
    )
    assert cli("status", plan, "--store", "kept")[0] == 0


def test_a_watch_goes_on_while_a_run_has_a_job_or_reads_one(
    plan: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job in progress, then a pause, then a run that has announced what it reads."""
    store, looks = Store("kept"), 0
    with ExitStack() as held:

        def sleep(_: float) -> None:
            nonlocal looks
            looks += 1
            key = one_key(store)
            if looks == 2:
                lease = store.claim(key)
                assert lease is not None
                held.callback(lease.release)
            if looks == 4:
                held.pop_all().close()
            if looks == 5:
                held.callback(store.announce([key]).release)
            if looks == 7:
                held.pop_all().close()

        clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
        monkeypatch.setattr("tombola.cli.verbs.plans.time", clock)
        status, shown, _ = cli("status", plan, "--store", "kept", "--watch")
    assert (status, looks) == (1, 7 + IDLE_LOOKS - 1)
    assert "1 running" in shown


def one_key(store: Store) -> str:
    """The key of the plan's training."""
    from argparse import Namespace

    from tombola.cli.arguments import plan_of

    options = Namespace(plan="mine.yaml", data=None, store=str(store.folder))
    return plan_of(options)[0].jobs[0].key
