"""Kernels without a deterministic form, and the generators of GPUs."""

from collections.abc import Iterator

import pytest
import torch

from tombola.base.errors import ModelError
from tombola.training.determinism import repeatable
from tombola.training.distributed import restoring_process
from tombola.training.faults import in_network

LACKS = "put_ does not have a deterministic implementation, but you set ..."


@pytest.fixture
def strict() -> Iterator[None]:
    """Deterministic kernels alone, until the test ends."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_a_kernel_without_a_deterministic_form_is_done_once_more(strict: None) -> None:
    calls: list[str] = []

    def do() -> int:
        calls.append("do")
        if not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError(LACKS)
        return 5

    with pytest.warns(UserWarning, match="differ in their last bits on this device: put_ does not"):
        assert repeatable(do, lambda: calls.append("undo")) == 5
    assert calls == ["do", "undo", "do"]
    with pytest.raises(RuntimeError, match="another"):
        repeatable(lambda: (_ for _ in ()).throw(RuntimeError("another")))


def test_it_is_no_fault_of_the_network_in_whose_code_it_is_called() -> None:
    batch = {"input_ids": torch.zeros(1, 2)}
    for message, kind in ((LACKS, RuntimeError), ("wrong shape", ModelError)):
        with pytest.raises(kind, match=message[:11]), in_network("theirs", batch):
            raise RuntimeError(message)


def test_gpus_that_were_first_used_inside_are_seeded_as_the_program_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeded: list[int] = []
    initialised = iter((False, True))
    with torch.random.fork_rng(()):
        torch.manual_seed(5)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: next(initialised))
        monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
        with restoring_process():
            torch.manual_seed(9)
    assert seeded == [9, 5]
