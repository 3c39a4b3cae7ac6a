"""The networks of some plans as data for charts, on a page and on paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from tombola.report.figures.network_rows import baselines, networks
from tombola.report.figures.networks import against_dense, curve
from tombola.report.pages.page import Explorer

__all__ = ["explorer"]

CURVE_HEIGHT = 300
"""In pixels."""


def explorer(groups: Sequence[Mapping[str, Any]]) -> Explorer | None:
    """The charts of the networks that were trained on the task of their mask, if any is done.

    Args:
        groups: the networks of `row_facts`.
    """
    found = networks(groups)
    if all(one["score"] is None for one in found):
        return None
    charts = {
        "curve": curve().properties(height=CURVE_HEIGHT).to_dict(),
        "tasks": against_dense().to_dict(),  # as high as it has tasks
    }
    return Explorer(networks=found, baselines=baselines(groups), charts=charts)
