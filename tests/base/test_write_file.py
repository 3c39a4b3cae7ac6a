"""A file that cannot be written is refused by name."""

import pytest

from tombola.base.errors import OutputError
from tombola.base.files import write_file


@pytest.mark.parametrize("place", [".", "/"])
def test_a_file_without_a_name_is_refused(place: str) -> None:
    with pytest.raises(OutputError, match=f"expected the name of a file, got {place!r}"):
        write_file(place, "text")
