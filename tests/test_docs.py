"""The code that the documentation shows runs."""

import json
import re
import runpy
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tombola
from page_network import NETWORK, shared_by
from tombola.api import signatures
from tombola.cli.main import main
from tombola.finders.finder import FINDERS
from tombola.lab.store.result_store import Store
from tombola.tasks.kinds.kind import TASK_KINDS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "design").glob("*.md")),
]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


FOUND = "runs/demo/ticket-seed-0"
"""The ticket that the tutorial has found before it loads it."""
SHORT = {
    "train_limit": 16,
    "test_limit": 8,
    "max_length": 32,
    "epochs": 1,
    "controls": (),
    "step": 0.5,
}

SHOWN = [(str(page.relative_to(ROOT)), code) for page in PAGES for code in blocks(page)]


def short(**knobs: Any) -> tombola.SearchResult:
    """A search as a page shows it, on a few examples and for one seed."""
    own = {"step"} if "finder" in knobs else set[str]()
    if knobs.get("task") == "gloss-span":  # whose questions take more
        own.add("max_length")
    small = {name: value for name, value in SHORT.items() if name not in own}
    return signatures.find(**{**knobs, **small, "seeds": (0, 1)})


class Export:
    """`tombola.export`, which makes what two pages export alike once."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.made: dict[str, Any] = {}

    def __call__(self, ticket: tombola.Ticket, *, output: str, **knobs: Any) -> Any:
        name = f"{ticket.mask.digest()} {sorted(knobs.items())}"
        target, kept = Path(output).parent, self.place / str(len(self.made))
        if name in self.made:
            kept, found = self.made[name]
            shutil.copytree(kept, target)
            return found
        found = signatures.export(ticket, output=output, **knobs)
        shutil.copytree(target, kept)
        self.made[name] = kept, found
        return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which pages find what others trained, and a folder for each page's network."""
    return Store(tmp_path_factory.mktemp("pages") / "store").folder.parent


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The function that exports, for all pages."""
    return Export(tmp_path_factory.mktemp("exported"))


@pytest.fixture
def page_folder(
    pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    """An empty folder for a part of a page, with the store of all, and its page's network."""
    monkeypatch.chdir(tmp_path)
    with shared_by(pages, pages / NETWORK / Path(request.node.callspec.params["page"]).stem):
        yield


@pytest.mark.usefixtures("page_folder")
@pytest.mark.filterwarnings("ignore:.pin_memory:UserWarning")  # of torch, without a GPU
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of peft
@pytest.mark.filterwarnings("ignore:.*(num_workers|treespec|LeafSpec)")  # of Lightning
@pytest.mark.filterwarnings("ignore:the C extension of tombola")  # where no compiler was
@pytest.mark.parametrize(("page", "code"), SHOWN, ids=[page for page, _ in SHOWN])
def test_python_that_a_page_shows_runs_without_an_error(
    page: str, code: str, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plugins in (FINDERS, TASK_KINDS):
        monkeypatch.setattr(plugins, "_registered", dict(plugins._plugins))
    if FOUND in code:
        tombola.one_shot("mini", sparsity=0.5).save(FOUND)
    monkeypatch.setattr("tombola.api.find", short)
    monkeypatch.setattr("tombola.api.export", export)
    assert "import tombola" in code
    exec(compile(code, page, "exec"), {})


def printed(page: Path) -> list[tuple[str, list[str]]]:
    """The commands that a page shows with what they print, line by line."""
    text = page.read_text(encoding="utf-8")
    shown = "".join(re.findall(r"^```\n(\$ .*?)^```", text, re.S | re.M))
    parts = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", shown, re.M)
    return [(command, lines.splitlines()) for command, lines in parts]


PRINTED = [shown for page in PAGES for shown in printed(page)]


@pytest.mark.parametrize(("command", "lines"), PRINTED, ids=[command for command, _ in PRINTED])
def test_a_command_prints_what_a_page_shows(
    command: str, lines: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "160")
    assert main(shlex.split(command)[1:]) == 0
    text = re.sub(" +$", "", capsys.readouterr().out, flags=re.M)
    assert [line for line in lines if line not in ("...", *text.splitlines())] == []
    pattern = "\n".join(".*" if line == "..." else re.escape(line) for line in lines)
    assert re.fullmatch(pattern, text.rstrip("\n"), re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_of_a_page_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_site_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", text[text.index("\nnav:") :]))
    inside = {str(page.relative_to(ROOT)) for page in PAGES if page.parent.name != "design"}
    evidence = {str(page.relative_to(ROOT)) for page in (ROOT / "evidence").glob("*.md")}
    assert listed == inside | evidence | {"design/README.md"}


def test_the_readme_compares_with_what_was_measured() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    rows = results["time_to_ticket"]["rows"]
    took = [rows[name]["seconds"] for name in ("padded", "trainer", "ours")]
    measured = [f"| {seconds:.1f} | {took[0] / seconds:.1f} |" for seconds in took]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\| [\d.]+ \| [\d.]+ \|$", readme, re.M) == measured


def test_the_page_of_models_is_what_the_code_makes() -> None:
    build = runpy.run_path(str(ROOT / "tools" / "build_models.py"))
    made, kept = build["page"](), (DOCS / "reference" / "models.md").read_text(encoding="utf-8")
    assert made == kept, "run `python tools/build_models.py`"
    assert "| BERT | 109,482,240 | 84,934,656 | 72 | 77.6 % | 85,524,480 in 73 |" in kept


def test_the_tables_of_the_pilot_are_those_of_its_rows() -> None:
    build = runpy.run_path(str(ROOT / "tools" / "build_pilot.py"))
    kept = (DOCS / "results" / "pilot.md").read_text(encoding="utf-8")
    assert build["page"](kept) == kept, "run `python tools/build_pilot.py`"
    assert set(re.findall(r"<!-- table: (.+?) -->", kept)) == {*build["TABLES"], "rates"}


def test_the_architecture_lists_every_folder_of_the_package_and_no_other() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "tombola"
    folders = {str(file.parent.relative_to(package)) for file in package.rglob("*.py")} - {"."}
    assert set(re.findall(r"^\| `([a-z_/]+)/` \|", text, re.M)) == folders


def test_every_design_page_is_listed_and_has_the_same_parts() -> None:
    design = ROOT / "design"
    pages = {page.name for page in design.glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\((.+?\.md)\)", (design / "README.md").read_text())) == pages
    for name in pages:
        parts = re.findall(r"^## (.+)$", (design / name).read_text(encoding="utf-8"), re.M)
        assert parts == ["Problem", "Options", "Choice", "What it costs"], name


def test_files_that_the_architecture_and_the_design_name_exist() -> None:
    package = ROOT / "src" / "tombola"
    for page in (ROOT / "ARCHITECTURE.md", *(ROOT / "design").glob("*.md")):
        for name in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", page.read_text(encoding="utf-8")):
            assert (package / name).is_file() or (ROOT / name).is_file(), f"{page.name}: {name}"
