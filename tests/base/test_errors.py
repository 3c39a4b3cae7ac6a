"""Errors name flags on a command line, and keywords in Python."""

import pytest

from tombola.base import errors
from tombola.base.errors import (
    MissingSplitError,
    SpecError,
    TombolaError,
    naming_keywords,
    rebuild_error,
    sent_name,
)
from tombola.models.network import NoHeadError
from tombola.ticket.prune import NaNScoresError

MESSAGES = {
    "Pass --data.": "Pass `data`.",
    "Use fewer --workers, a higher --accumulation or a smaller --batch-size.": (
        "Use fewer `workers`, a higher `accumulation` or a smaller `batch_size`."
    ),
    "Push with --no-private, or begin --from another ticket.": (
        "Push with `private=False`, or begin `from_ticket` another ticket."
    ),
    "Run `tombola store gc --store 'a b'`, or use another --store.": (
        "Run `tombola store gc --store 'a b'`, or use another `store`."
    ),
    "expected a folder, got 'a--b' -- nothing": "expected a folder, got 'a--b' -- nothing",
}


@pytest.mark.parametrize(("flags", "keywords"), MESSAGES.items())
def test_a_function_of_python_names_keywords_where_its_error_names_flags(
    flags: str, keywords: str
) -> None:
    @naming_keywords()
    def inner() -> None:
        raise SpecError(flags)

    @naming_keywords()
    def outer() -> None:
        inner()

    with pytest.raises(SpecError) as caught:
        outer()
    assert (str(caught.value), caught.value.with_flags) == (keywords, flags)
    assert TombolaError(flags).with_flags == flags


@pytest.mark.parametrize(
    ("raised", "rebuilt"),
    [
        (NaNScoresError("it"), SpecError("it")),
        (NoHeadError("it"), errors.ModelError("it")),
        (MissingSplitError("it"), MissingSplitError("it")),
        (TombolaError("it"), TombolaError("it")),
        (ZeroDivisionError("it"), RuntimeError("ZeroDivisionError: it")),
    ],
    ids=repr,
)
def test_another_process_raises_the_nearest_error_that_every_process_knows(
    raised: Exception, rebuilt: Exception
) -> None:
    found = rebuild_error(sent_name(raised), str(raised))
    assert (type(found), str(found)) == (type(rebuilt), str(rebuilt))


def test_every_error_of_a_user_can_be_sent() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if issubclass(kind, TombolaError)]
    assert len(ours) > 6
    for kind in ours:
        assert type(rebuild_error(sent_name(kind("it")), "it")) is kind
