"""Each purpose of a run draws from a random stream of its own."""

from tombola.base.seeds import derive_seed


def test_every_purpose_and_seed_has_a_stream_of_its_own_for_ever() -> None:
    purposes = ("head", "init", "order", "masks", "dropout", "evaluation", "bootstrap")
    streams = {derive_seed(seed, purpose) for seed in range(20) for purpose in purposes}
    assert len(streams) == 20 * len(purposes)
    assert derive_seed(0, "head") == 59729345685573200
    assert derive_seed(11, "order") == 12568597276312997
