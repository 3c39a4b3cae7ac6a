"""A picture holds every score that there is, and every name can be read."""

import math
import re
import struct
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any
from xml.etree import ElementTree

import pytest

from tombola.base.errors import OutputError, SpecError
from tombola.report.figures import score_curve as picture
from tombola.report.figures.score_curve.frame import GAP, HEIGHT

CONTROLS = ("random", "layer-random", "one-shot", "reinit", "shuffle")


def scores(*values: float | None) -> dict[str, Any]:
    known = [x for x in values if x is not None and math.isfinite(x)]
    return {
        "values": list(values),
        "mean": fmean(known) if known else None,
        "std": stdev(known) if len(known) > 1 else None,
    }


def search(**changes: Any) -> dict[str, Any]:
    """Three seeds; all controls within a point of each other; one run failed."""
    return {
        "task": "sentiment",
        "model": "mini",
        "metric": "accuracy",
        "split": "test",
        "dense": scores(84.01, 84.52, 83.73),
        "rounds": [
            {"sparsity": "0.1", **scores(84.14, 84.25, 83.96), "jaccard_one_shot": 0.9},
            {"sparsity": 0.3, **scores(83.17, None, 82.78), "jaccard_one_shot": 0.8},
        ],
        "controls": {
            name: scores(81.1 + 0.111 * n, 81.3, 81.9 - 0.113 * n)
            for n, name in enumerate(CONTROLS)
        },
        "verdict": {
            "status": "undecided",
            "sparsity": "0.3",
            "interval": [-2.1, -0.24],
            "margin": 1.0,
            "level": 0.9,
            "estimand": "mean over seeds",
        },
        "ticket": "ticket",
        "tickets": {},
        "seconds": 1.0,
    } | changes


def single() -> dict[str, Any]:
    return search(
        dense=scores(84.0),
        rounds=[{"sparsity": 0.5, **scores(83.5)}],
        controls={"random": scores(70.5), "shuffle": scores(None), "reinit": scores(math.nan)},
    )


def rows(chart: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    data = layer["data"]
    found: list[dict[str, Any]] = (
        chart["datasets"][data["name"]] if "name" in data else data["values"]
    )
    return found


def values_in(chart: dict[str, Any], field: str = "y") -> list[float]:
    return [row[field] for layer in chart["layer"] for row in rows(chart, layer) if field in row]


def texts(chart: dict[str, Any]) -> list[Any]:
    marks = [layer["mark"] for layer in chart["layer"]]
    return [mark["text"] for mark in marks if mark["type"] == "text"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return picture.save(search(), tmp_path_factory.mktemp("search") / "new" / "folder")


def test_both_files_are_there_and_nothing_else(saved: list[Path]) -> None:
    assert [path.name for path in saved] == ["scores.svg", "scores.png"]
    assert sorted(saved[0].parent.iterdir()) == sorted(saved)


def test_svg_is_well_formed_and_names_everything(saved: list[Path]) -> None:
    root = ElementTree.parse(saved[0]).getroot()
    text = " ".join("".join(element.itertext()) for element in root.iter() if element.text)
    for name in (*CONTROLS, "dense", "IMP", "margin", "sparsity (%)", "accuracy (points)"):
        assert name in text
    assert "IMP on sentiment, mini: accuracy on the test split" in text
    assert "3 seeds; undecided at 30 % (ticket − dense: −2.1 to −0.2, 90 % interval)" in text


def test_an_end_below_zero_is_not_drawn_as_zero() -> None:
    verdict = search()["verdict"] | {"interval": [-2.69, -0.03]}
    text = picture.draw(search(verdict=verdict)).to_json()
    assert "\\u22122.69 to \\u22120.03" in text or "−2.69 to −0.03" in text


def test_png_is_the_svg_at_twice_its_size(saved: list[Path]) -> None:
    svg, png = saved[0].read_text("utf-8"), saved[1].read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    size = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert size is not None
    assert struct.unpack(">II", png[16:24]) == (2 * int(size[1]), 2 * int(size[2]))
    assert 600 <= int(size[1]) <= 660


def test_svg_asks_for_nothing_from_elsewhere(saved: list[Path]) -> None:
    svg = saved[0].read_text("utf-8")
    assert set(re.findall(r'[\w:]+="https?://[^"]*"', svg)) <= {
        'xmlns="http://www.w3.org/2000/svg"',
        'xmlns:xlink="http://www.w3.org/1999/xlink"',
    }
    assert not re.search(r"url\(|@import|<image|<script", svg)


def test_every_score_is_plotted_and_lies_inside() -> None:
    result = search()
    chart = picture.draw(result).to_dict()
    series = [result["dense"], *result["rounds"], *result["controls"].values()]
    expected = {x for each in series for x in (*each["values"], each["mean"]) if x is not None}
    assert expected <= set(values_in(chart))
    domain = chart["layer"][-1]["encoding"]["y"]["scale"]["domain"]
    ends = values_in(chart) + values_in(chart, "y2")
    assert domain[0] < min(ends) < max(ends) < domain[1]
    assert domain[0] > 70


def test_failed_runs_are_left_out_and_counted() -> None:
    labels = texts(picture.draw(search()).to_dict())
    assert "IMP 83.0 ± 0.3 (2 of 3)" in labels
    one = picture.draw(single()).to_dict()
    assert all(isinstance(y, float) and math.isfinite(y) for y in values_in(one))
    assert not [label for label in texts(one) if "shuffle" in label or "reinit" in label]


def test_one_seed_has_no_spread() -> None:
    chart = picture.draw(single()).to_dict()
    assert "random 70.5" in texts(chart)
    assert "±" not in str(texts(chart))
    assert "1 seed, this run only" in chart["title"]["subtitle"][0]


def test_labels_of_near_values_stay_apart() -> None:
    controls = {name: scores(81.0, 81.0) for name in CONTROLS}
    for lowest in (81.0, 83.9):
        result = search(controls=controls | {"mine": scores(lowest, lowest)})
        chart = picture.draw(result).to_dict()
        labels = [each for each in chart["layer"] if each["mark"].get("align") == "left"]
        low, high = labels[0]["encoding"]["y"]["scale"]["domain"]
        places = sorted(rows(chart, each)[0]["y"] for each in labels)
        pixels = [HEIGHT * (y - low) / (high - low) for y in places]
        assert min(b - a for a, b in pairwise(pixels)) > GAP - 1e-6
        assert min(pixels) > -1e-6
        assert max(pixels) < HEIGHT + 1e-6


def test_controls_stand_side_by_side() -> None:
    chart = picture.draw(search()).to_dict()
    shapes = [each for each in chart["layer"] if each["mark"].get("size") == 70]
    assert len({rows(chart, each)[0]["x"] for each in shapes}) == len(CONTROLS)
    assert len({(each["mark"]["shape"], each["mark"]["color"]) for each in shapes}) == len(CONTROLS)


def test_the_trivial_baseline_shows_only_where_it_is_in_sight() -> None:
    assert "trivial 50.0" not in texts(picture.draw(search(trivial=50.0)).to_dict())
    assert "trivial 82.0" in texts(picture.draw(search(trivial=82.0)).to_dict())


def test_a_search_without_controls_or_verdict_is_drawn() -> None:
    chart = picture.draw(search(controls={}, verdict=None)).to_dict()
    assert chart["title"]["subtitle"][0] == "3 seeds"
    assert len(texts(chart)) == 2


def test_a_long_title_takes_two_lines() -> None:
    result = search(task="natural-language-inference", model="somewhere/bert-base-uncased")
    assert picture.draw(result).to_dict()["title"]["text"] == [
        "IMP on natural-language-inference, bert-base-uncased:",
        "accuracy on the test split",
    ]


def test_tickets_are_called_by_their_finder() -> None:
    chart = picture.draw(single(), "SNIP").to_dict()
    assert "SNIP 83.5" in texts(chart)
    assert chart["title"]["text"].startswith("SNIP on sentiment")


def test_nothing_to_draw_is_refused() -> None:
    empty = {"dense": scores(None), "rounds": [], "controls": {}}
    with pytest.raises(SpecError, match="at least one score"):
        picture.draw(search(**empty))


def test_a_file_in_the_place_of_the_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vl_convert.svg_to_png", lambda *_, **__: b"")
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="taken"):
        picture.save(single(), tmp_path / "taken")
