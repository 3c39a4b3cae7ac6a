"""A registry imports its plug-ins once, completely, whatever interrupts or joins in."""

import sys
from pathlib import Path
from threading import Thread

import pytest

from tombola.base.registry import Registry, closest, unknown

FIRST = """
from {name} import THINGS
THINGS.register("first")(1)
"""
SECOND = """
from {name} import THINGS, interrupt
if interrupt:
    interrupt.pop()
    raise KeyboardInterrupt
THINGS.register("second")(len(THINGS))
"""


def package(name: str, folder: Path, *, interrupts: int = 0) -> Registry[int]:
    place = folder / name
    place.mkdir()
    (place / "__init__.py").write_text(
        "from tombola.base.registry import Registry\n"
        f"THINGS: Registry[int] = Registry('thing', package={name!r})\n"
        f"interrupt = [None] * {interrupts}\n"
    )
    (place / "a.py").write_text(FIRST.format(name=name))
    (place / "b.py").write_text(SECOND.format(name=name))
    return __import__(name).THINGS  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)


def test_an_import_that_was_interrupted_goes_on_at_the_next_question(tmp_path: Path) -> None:
    things = package("interrupted_things", tmp_path, interrupts=2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            list(things)
    assert list(things) == ["first", "second"]


def test_a_module_may_ask_for_the_others_while_it_is_imported(tmp_path: Path) -> None:
    assert package("asking_things", tmp_path)["second"] == 1


def test_every_thread_sees_all_plug_ins(tmp_path: Path) -> None:
    things, seen = package("shared_things", tmp_path), list[list[str]]()
    threads = [Thread(target=lambda: seen.append(list(things))) for _ in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert seen == [["first", "second"]] * 8


def test_a_mistyped_name_is_met_with_the_nearest_or_with_all() -> None:
    known = ["random", "reinit"]
    assert closest("rendom", known) == "random"
    assert closest("Did you mean", known) is None
    assert str(unknown("control", "rendom", known)).endswith("Did you mean 'random'?")
    assert str(unknown("control", "Did you mean", known)).endswith("There are: random, reinit.")
