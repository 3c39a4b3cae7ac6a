"""What the bits of a result depend on besides its spec, compared between results."""

from collections.abc import Mapping, Sequence

from tombola.errors import SpecError

__all__ = ["refuse_mixed"]


def refuse_mixed(numerics: Sequence[Mapping[str, object]], names: Sequence[str] = ()) -> None:
    """Refuse to pool runs whose arithmetic differs: their difference is not the ticket's.

    Args:
        numerics: of each run, such as threads, precision, kernel path and library versions.
        names: of the runs, for the error; by default their numbers.

    Raises: SpecError, naming the first run that differs from the first, the field and both values.
    """
    told = names or [f"run {number}" for number in range(1, len(numerics) + 1)]
    for name, record in zip(told[1:], numerics[1:], strict=True):
        for field in sorted({*numerics[0], *record}):
            values = [one.get(field, "not recorded") for one in (numerics[0], record)]
            if values[0] != values[1]:
                raise SpecError(
                    f"runs to compare share their numerics, but {field} is {values[0]} in "
                    f"{told[0]} and {values[1]} in {name}. Rerun one of them like the other."
                )
