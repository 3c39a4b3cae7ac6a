"""Figures for a paper fit its column, can be read there, and have their data inside."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import plan_rows
from tombola.base.errors import SpecError
from tombola.report.figures.paper import save_figures
from tombola.study.report_facts.plan_facts import PlanRuns, plan_facts


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The figures of two tasks with transfer between them, one with a name that is no file's."""
    tasks = ("a/../b", "c")
    rows = [row for task in tasks for row in plan_rows.search(task, -0.1)]
    for source, target in (tasks, tasks[::-1]):
        rows += plan_rows.network("transfer", target, -3.0, arm="moved", source=source)
    facts = plan_facts([PlanRuns(rows=rows, about={"name": "rows.csv"})])
    folder = tmp_path_factory.mktemp("figures")
    return {path.name: path.read_bytes() for path in save_figures(facts, folder)}


def test_every_figure_is_written_as_svg_pdf_and_json(figures: dict[str, bytes]) -> None:
    names = {Path(name).stem for name in figures}
    assert names == {"scores--a-..-b", "scores--c", "tasks", "transfer--moved-0.7"}
    assert set(figures) == {f"{name}.{end}" for name in names for end in ("svg", "pdf", "json")}


def test_figures_are_as_wide_as_a_column_and_readable(figures: dict[str, bytes]) -> None:
    for name, content in figures.items():
        if name.endswith(".pdf"):
            (width,) = re.findall(rb"MediaBox \[0 0 (\d+)", content)
            assert (int(width), b"FontFile" in content) == (240, True)
        elif name.endswith(".svg"):
            sizes = re.findall(r'font-size="([\d.]+)px"', content.decode())
            assert sizes
            assert min(map(float, sizes)) >= 7


def test_an_svg_has_its_data_inside(figures: dict[str, bytes]) -> None:
    svg = figures["scores--c.svg"].decode()
    (inside,) = re.findall("<metadata>(.*?)</metadata>", svg)
    chart = json.loads(unescape(inside))
    assert chart == json.loads(figures["scores--c.json"])
    rows = [row for data in chart["datasets"].values() for row in data]
    scores = [row["y"] for row in rows if row.get("network") == "tickets: imp"]
    assert scores == [pytest.approx(80.2)]


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"groups": [], "transfer": []}
    with pytest.raises(SpecError, match="a figure needs at least one score"):
        save_figures(facts, tmp_path)
