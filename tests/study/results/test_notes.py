"""Notes on a result, where the finder's mask is hardly another than that of one-shot pruning."""

import pytest

from tombola.study.results.notes import SAME_MASK, same_mask_notes


def test_a_mask_of_a_short_training_asks_for_a_longer_one() -> None:
    (note,) = same_mask_notes("IMP", 0.9753, summed_learning_rate=0.00705)
    assert note == (
        "IMP's mask is nearly that of one-shot pruning: the learning rates sum to 0.00705, and the "
        "two masks' pruned weights have a Jaccard index of 0.975. Their scores can still differ "
        "widely; compare with the `one-shot` control. A longer or faster recipe would move the "
        "weights further."
    )


def test_a_mask_that_depends_on_no_training_is_not_blamed_on_the_recipe() -> None:
    (note,) = same_mask_notes("SNIP", 0.96, summed_learning_rate=None)
    assert note == (
        "SNIP's mask is nearly that of one-shot pruning: the two masks' pruned weights have a "
        "Jaccard index of 0.960. Their scores can still differ widely; compare with the "
        "`one-shot` control."
    )


@pytest.mark.parametrize("jaccard", [None, SAME_MASK - 0.001])
def test_another_mask_and_an_unknown_overlap_have_no_note(jaccard: float | None) -> None:
    assert same_mask_notes("IMP", jaccard, summed_learning_rate=0.1) == []
