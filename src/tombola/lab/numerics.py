"""What the bits of a result depend on besides its spec, compared between results."""

from collections.abc import Mapping, Sequence

from tombola.errors import SpecError

__all__ = ["refuse_mixed"]


def refuse_mixed(numerics: Sequence[Mapping[str, object]]) -> None:
    """Refuse to pool runs whose arithmetic differs: their difference is not the ticket's.

    Args:
        numerics: of each run, such as threads, precision, kernel path and library versions.

    Raises: SpecError, naming the first run that differs from run 1, the field and both values.
    """
    for number, record in enumerate(numerics[1:], start=2):
        for field in sorted({*numerics[0], *record}):
            values = [one.get(field, "not recorded") for one in (numerics[0], record)]
            if values[0] != values[1]:
                raise SpecError(
                    f"runs to compare share their numerics, but {field} is {values[0]} in run 1 "
                    f"and {values[1]} in run {number}. Rerun one of them like the other."
                )
