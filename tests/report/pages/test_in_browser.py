"""A report in a browser without a network: drawn, explored, read by keyboard, never obeyed."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import plan_rows
from tombola import api
from tombola.report.pages.page import save
from tombola.report.pages.plans.plan_page import plan_page
from tombola.report.pages.search import search_page
from tombola.study.report_facts.plan_facts import PlanRuns, plan_facts
from tombola.study.report_facts.search_facts import search_facts
from tombola.study.table.row import Row

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: make setup")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO REPORT IS TESTED IN A BROWSER: install Chromium, as make test does"
)

EVIL = "<img src=x onerror=hacked=1><b>evil</b>"
AXE = Path(__file__).parents[2] / "fixtures" / "axe" / "axe.min.js"


def rows() -> list[Row]:
    """A plan with searches, controls and transfer, one of whose tasks and arms is named in HTML."""

    def named(text: str) -> str:
        return {"a": EVIL, "late": "<i>late</i>"}.get(text, text)

    return [
        replace(
            row,
            plan="paper",
            arm=named(row.arm),
            source=named(row.source),
            target=named(row.target),
            finder="imp" if row.source else "",
        )
        for row in plan_rows.plan()
    ]


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return plan_facts([PlanRuns(rows=rows(), about={"name": "paper.csv"})])


@pytest.fixture(scope="module")
def reports(
    facts: dict[str, Any], searched: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A report of a plan, and one of a search."""
    folder = tmp_path_factory.mktemp("reports")
    return {
        "plan": save(plan_page(facts), folder / "plan.html"),
        "search": save(search_page(search_facts(searched, api.one_shot)), folder / "search.html"),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@dataclass
class Opened:
    """A report in a browser, with what it said and asked for."""

    page: Any
    messages: list[str]
    requests: list[str]

    def drawings(self) -> int:
        """How often its charts have been drawn."""
        return int(self.page.get_attribute("#explorer", "data-drawn") or 0)

    def choose(self, name: str, value: str) -> None:
        """Choose in a list, and wait for the charts."""
        before = self.drawings()
        self.page.select_option(f"select[name={name}]", value)
        self.page.wait_for_selector(f"#explorer[data-drawn='{before + 1}']")

    def keys(self) -> list[str]:
        """The keys of the runs that the dialog shows."""
        cells: list[str] = self.page.locator("dialog[open] td:last-child").all_inner_texts()
        return cells


def opened(browser: Any, file: Path, *, theme: str = "light", width: int = 1100) -> Opened:
    """A report, opened without a network and drawn."""
    size = {"width": width, "height": 900}
    page = browser.new_page(color_scheme=theme, viewport=size, offline=True)
    found = Opened(page, [], [])
    page.on("console", lambda message: found.messages.append(message.text))
    page.on("pageerror", lambda error: found.messages.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("#explorer[data-drawn]")
    return found


def section(found: Opened, heading: str) -> Any:
    """A section of a report."""
    return found.page.locator(f"section:has(h2:text-is('{heading}'))")


def alternative_text(page: Any, chart: str) -> str:
    """What a screen reader says of a chart."""
    place = f":is(#{chart}, #{chart} *)[aria-roledescription=visualization]"
    return page.get_attribute(place, "aria-label") or ""


@pytest.fixture(scope="module")
def plan(browser: Any, reports: dict[str, Path]) -> Iterator[Opened]:
    """The report of a plan in a window; tests close the dialogs that they open."""
    found = opened(browser, reports["plan"])
    yield found
    assert found.messages == []
    found.page.close()


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [("plan", "dark", 390), ("plan", "light", 1100), ("search", "light", 390)],
)
def test_every_chart_is_drawn_in_both_themes_and_on_a_phone(
    browser: Any, reports: dict[str, Path], name: str, theme: str, width: int
) -> None:
    found = opened(browser, reports[name], theme=theme, width=width)
    page = found.page
    for chart in ("curve", "tasks"):
        assert page.locator(f"#{chart} svg .mark-symbol path").count() >= 2
        assert alternative_text(page, chart)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (theme == "dark")
    ink = page.evaluate("getComputedStyle(document.querySelector('#curve svg text')).fill")
    assert ink == page.evaluate("getComputedStyle(document.body).color")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text(encoding="utf-8"))
    faults = page.evaluate("axe.run().then((found) => found.violations)")
    serious = [
        (fault["id"], fault["nodes"][0]["html"][:200])
        for fault in faults
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert (found.messages, found.requests) == ([], [reports[name].as_uri()])
    page.close()


def test_a_click_on_a_number_shows_its_runs(plan: Opened, facts: dict[str, Any]) -> None:
    group = next(one for one in facts["groups"] if one["name"] == "imp")
    keys = [facts["runs"]["rows"][place][-1] for place in group["runs"]]
    page = plan.page
    number = f"td button:text-is('{group['mean']:.2f} ± {group['std']:.2f}')"
    section(plan, "Networks").locator(number).first.click()
    assert plan.keys() == keys
    page.keyboard.press("Escape")
    assert plan.keys() == []
    page.keyboard.press("Enter")  # the focus is back where it was
    assert plan.keys() == keys
    page.click("#runs-close")


def test_every_number_is_a_button_with_runs(plan: Opened) -> None:
    page = plan.page
    assert page.locator(".answers button").count() >= 5
    for heading in ("Networks", "Verdicts", "Transfer", "Claims of the paper"):
        section(plan, heading).locator("td button").last.click()
        assert plan.keys()
        page.keyboard.press("Escape")


def test_a_mark_of_a_chart_shows_its_runs(plan: Opened) -> None:
    mark = plan.page.locator("#curve svg .mark-symbol path").first
    mark.scroll_into_view_if_needed()
    mark.hover(force=True)
    assert "network" in plan.page.inner_text("#vg-tooltip-element")
    mark.click(force=True)
    assert plan.keys()
    plan.page.keyboard.press("Escape")


def test_charts_show_the_task_the_finder_and_the_sparsity_chosen(plan: Opened) -> None:
    page = plan.page
    page.locator("#explorer summary").evaluate_all("all => all.forEach((one) => one.click())")
    plan.choose("task", "b")
    listed = page.locator("#curve-list tbody tr")
    tasks = {row.locator("td").nth(1).inner_text() for row in listed.all()}
    assert (tasks, page.inner_text("#curve-heading")) == ({"b"}, "b: by sparsity")
    every = listed.count()
    plan.choose("finder", "one-shot")
    assert 0 < listed.count() < every
    plan.choose("measure", "minus dense")
    assert "minus dense" in alternative_text(page, "curve")
    plan.choose("finder", "every finder")
    plan.choose("sparsity", "0.7")
    assert page.locator("#tasks svg .mark-symbol path").count() > 5
    page.locator("#tasks-list td button").first.focus()
    page.keyboard.press("Enter")
    assert plan.keys()
    page.keyboard.press("Escape")


def test_names_with_html_in_them_are_text(plan: Opened) -> None:
    plan.choose("task", EVIL)
    assert plan.page.inner_text("#curve-heading").startswith(EVIL)
    plan.page.locator("#curve svg .mark-symbol path").first.click(force=True)
    assert EVIL in plan.page.inner_text("dialog")
    plan.page.keyboard.press("Escape")
    assert plan.page.locator("img, b, i").count() == 0
    assert plan.page.evaluate("window.hacked") is None


def test_the_page_prints_light_and_without_its_controls(
    browser: Any, reports: dict[str, Path]
) -> None:
    page = opened(browser, reports["plan"], theme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.is_visible("#explorer form")
    assert page.is_visible("#curve svg")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.close()
