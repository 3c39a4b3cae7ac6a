"""Imports point down or sideways, and nothing heavy is loaded before it is used."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tombola

ROOT = Path(tombola.__file__).parent
BASE = {
    *("documents", "errors", "flags", "plainfile", "printable", "registry", "rounding", "scalars"),
    *("specs", "streams", "waiting", "yamlfile"),
}
BELOW_API = {"base", "ticket", "task", "study", "lab", "ship"}

ALLOWED = {
    "base": ({"base"}, set()),
    "ticket": ({"base", "ticket"}, {"torch", "numpy", "safetensors"}),
    "task": (
        {"base", "ticket", "task"},
        {
            *("torch", "numpy", "scipy", "yaml", "pyarrow", "safetensors"),
            *("huggingface_hub", "transformers", "accelerate", "datasets", "sklearn"),
        },
    ),
    "lab": (
        {"base", "ticket", "task", "lab"},
        {"torch", "numpy", "safetensors", "accelerate", "ray", "yaml"},
    ),
    "study": (
        {"base", "ticket", "task", "lab", "study"},
        {"numpy", "scipy", "yaml", "pyarrow"},
    ),
    "ship": ({"base", "ticket", "ship"}, {"numpy", "scipy", "altair", "jinja2", "vl_convert"}),
    "api": (BELOW_API | {"api"}, set()),
    "root": ({"api"}, set()),
    "arguments": (BELOW_API, set()),
    "screen": ({"base"}, {"rich"}),
    "grid": ({"base", "screen"}, {"rich"}),
    "terminal": (BELOW_API | {"grid", "screen"}, {"rich"}),
    "terminal_lab": (BELOW_API | {"grid", "screen", "terminal"}, {"rich"}),
    "lab_cli": (BELOW_API | {"arguments", "screen", "terminal", "terminal_lab"}, set()),
    "terminal_study": (BELOW_API | {"grid", "screen", "terminal"}, {"rich"}),
    "study_cli": (BELOW_API | {"arguments", "screen", "terminal_study"}, set()),
    "terminal_anatomy": (BELOW_API | {"grid", "screen", "terminal"}, {"rich"}),
    "anatomy_cli": (BELOW_API | {"api", "arguments", "screen", "terminal_anatomy"}, set()),
    "import_cli": (BELOW_API | {"api", "arguments", "screen"}, set()),
    "cli": (
        BELOW_API
        | {"api", "root", "arguments", "screen", "terminal"}
        | {"lab_cli", "study_cli", "anatomy_cli", "import_cli"},
        set(),
    ),
    "__main__": ({"cli"}, set()),
}
"""Layer -> the layers, and the packages besides the standard library, that it may import."""

MODULES = sorted(ROOT.rglob("*.py"))


def layer(module: str) -> str:
    """The layer of a module named without `tombola.`: its folder, or its file."""
    first = module.split(".", maxsplit=1)[0]
    return "base" if first in BASE else first or "root"


def name_of(path: Path) -> str:
    """Dotted name without `tombola.`; empty for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} has a relative import"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if node.module == "tombola" and is_module(inner) else node.module


def is_module(name: str) -> bool:
    place = ROOT.parent.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down_or_sideways(path: Path) -> None:
    layers, packages = ALLOWED[layer(name_of(path))]
    if name_of(path) in ("flags", "yamlfile"):
        packages = {"yaml"}
    for imported in imports(path):
        package, _, inner = imported.partition(".")
        if package == "tombola":
            assert layer(inner) in layers, f"{name_of(path)} may not import {imported}"
        elif package not in sys.stdlib_module_names:
            assert package in packages, f"{name_of(path)} may not import {package}"


def test_imports_inside_functions_and_from_the_package_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from tombola import api, __version__\n    import torch.nn\n")
    assert list(imports(file)) == ["tombola.api", "tombola", "torch.nn"]


def test_the_table_allows_no_circle() -> None:
    open_ = {name: layers - {name} for name, (layers, _) in ALLOWED.items()}
    while free := [name for name, needs in open_.items() if not needs & open_.keys()]:
        for name in free:
            del open_[name]
    assert not open_


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_name_exists_once(path: Path) -> None:
    module = importlib.import_module(f"tombola.{name_of(path)}".rstrip("."))
    names = getattr(module, "__all__", [])
    assert names or path.name in ("__init__.py", "__main__.py")
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


LIGHT = """
import sys
import tombola, tombola.cli
for verb in ([], *([verb] for verb in tombola.cli.VERBS)):
    try:
        assert tombola.cli.main([*verb, "--help"]) == 0
    except SystemExit as done:
        assert done.code == 0
assert tombola.cli.main(["fnid"]) == tombola.cli.main(["find", "--sparsty", "1"]) == 2
heavy = {"torch", "numpy", "scipy", "transformers", "accelerate", "rich", "pyarrow"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
import tombola.study.matching, tombola.study.table, tombola.terminal_lab
import tombola.lab.run, tombola.lab.planfile, tombola.lab.subjects  # a run with nothing to do
heavy -= {"rich"}
assert not (heavy - {"numpy", "scipy"}) & sys.modules.keys(), heavy & sys.modules.keys()
import tombola.api  # before a search's first step
late = {"scipy.stats", "altair", "pandas"}
assert not late & sys.modules.keys(), late & sys.modules.keys()
"""


def test_help_and_mistakes_load_nothing_heavy() -> None:
    command = [sys.executable, "-c", LIGHT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: tombola VERB" in done.stdout
    assert "--learning-rate X" in done.stdout
