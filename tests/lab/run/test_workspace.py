"""Networks stay loaded while they are small together; the one used longest ago goes first."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tombola.lab.run import workspace as module
from tombola.lab.run.workspace import Workspace, WorkspaceCache


@dataclass(frozen=True)
class Wanted:
    """The fields of a payload that name a workspace."""

    task: str
    model: str = "mini"
    folder: None = None
    head: str = "fresh"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose workspaces were opened, each with a network of 40 bytes and its copy."""
    found: list[str] = []

    def open_(payload: Any) -> Any:
        found.append(payload.task)
        return SimpleNamespace(network=SimpleNamespace(pretrained={"weight": torch.zeros(10)}))

    monkeypatch.setattr(Workspace, "open", open_)
    return found


def used(cache: WorkspaceCache, tasks: str) -> None:
    for task in tasks:
        payload: Any = Wanted(task)
        cache.of(payload)


def test_small_networks_stay(opened: list[str]) -> None:
    used(WorkspaceCache(), "abcabc")
    assert opened == ["a", "b", "c"]


def test_the_one_used_longest_ago_makes_room(
    opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 2 * 80)
    used(WorkspaceCache(), "abacab")
    assert opened == ["a", "b", "c", "b"]


def test_a_network_that_fills_the_room_alone_is_kept_alone(
    opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 79)
    used(WorkspaceCache(), "aabba")
    assert opened == ["a", "b", "a"]


def test_all_are_dropped_to_free_memory_and_whether_that_helps_is_said(opened: list[str]) -> None:
    cache = WorkspaceCache()
    used(cache, "ab")
    assert cache.clear()
    used(cache, "a")
    assert not cache.clear()
    used(cache, "a")
    assert opened == ["a", "b", "a", "a"]
