"""Errors name flags on a command line, and keywords in Python."""

import pytest

from tombola.base.errors import SpecError, TombolaError, naming_keywords

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
