"""Imports point down or sideways, and nothing heavy is loaded before it is used."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import pytest

import tombola

ROOT = Path(tombola.__file__).parent
FLOORS = (
    *("base", "ticket", "kernel", "models", "tasks", "training", "plan", "finders"),
    *("lab", "study", "report", "ship", "api", "root", "cli", "__main__"),
)
"""The layers from the bottom up: each may import those below it, and no others."""

EXCEPTIONS: Mapping[str, set[str]] = {
    "plan": {"base", "tasks"},
    "finders": {"base", "ticket", "plan"},
    "report": {"base"},
    "ship": {"base", "ticket", "kernel", "models"},
    "root": {"api", "base", "ship"},
    "__main__": {"cli"},
}
"""Layers that may import these only, and not everything below them."""

PACKAGES: Mapping[str, set[str]] = {
    "base": {"yaml", "msgspec"},
    "ticket": {"torch", "numpy", "safetensors", "msgspec", "constriction"},
    "kernel": {"torch", "transformers"},
    "models": {"torch", "transformers", "huggingface_hub"},
    "tasks": {
        *("torch", "numpy", "scipy", "sklearn", "transformers"),
        *("pyarrow", "datasets", "huggingface_hub"),
    },
    "training": {"torch", "numpy", "transformers", "accelerate", "safetensors"},
    "plan": set(),
    "finders": {"torch"},
    "lab": {
        *("torch", "accelerate", "psutil", "msgspec", "numpy", "safetensors", "ray", "yaml"),
        "rich",
    },
    "study": {"numpy", "scipy", "pyarrow", "tabulate", "msgspec"},
    "report": {"numpy", "scipy", "altair", "jinja2", "vl_convert"},
    "ship": {
        *("torch", "transformers", "huggingface_hub", "fsspec"),
        *("lightning", "onnx", "onnxscript", "onnxruntime"),
    },
    "api": {"torch"},
    "root": set(),
    "cli": {"rich", "shtab", "yaml"},
    "__main__": set(),
}
"""Layer -> the packages outside the standard library that it may import."""

MODULES = sorted(ROOT.rglob("*.py"))


def layer(module: str) -> str:
    """The layer of a module named without `tombola.`: its first folder, or its file."""
    return module.split(".", maxsplit=1)[0] or "root"


def below(name: str) -> set[str]:
    """The layers that one may import, itself included."""
    return EXCEPTIONS.get(name, {*FLOORS[: FLOORS.index(name)]}) | {name}


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
    mine = layer(name_of(path))
    for imported in imports(path):
        package, _, inner = imported.partition(".")
        if package == "tombola":
            assert layer(inner) in below(mine), f"{name_of(path)} may not import {imported}"
        elif package not in sys.stdlib_module_names:
            assert package in PACKAGES[mine], f"{name_of(path)} may not import {package}"


@pytest.mark.parametrize("name", FLOORS)
def test_a_layer_is_permitted_nothing_that_it_does_not_import(name: str) -> None:
    found = [module for path in MODULES if layer(name_of(path)) == name for module in imports(path)]
    packages = {module.partition(".")[0] for module in found} - sys.stdlib_module_names
    assert packages - {"tombola"} == PACKAGES[name]
    if name in EXCEPTIONS:
        inner = [module.partition(".")[2] for module in found if module.startswith("tombola")]
        layers = {layer(module) for module in inner}
        assert layers | {name} == EXCEPTIONS[name] | {name}


def test_no_two_modules_import_each_other() -> None:
    """A cycle of imports, even one that is hidden in functions, is found."""
    open_ = {name_of(path): set(inner_imports(path)) for path in MODULES}
    while free := [name for name, needs in open_.items() if not needs & open_.keys()]:
        for name in free:
            del open_[name]
    assert not open_, sorted(open_)


def inner_imports(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, named without `tombola.`."""
    for imported in imports(path):
        package, _, inner = imported.partition(".")
        if package == "tombola" and inner not in ("", name_of(path)):
            yield inner


FILES, LINES, FUNCTION_LINES = 12, 350, 50


def test_rooms_are_small() -> None:
    folders = {path.parent for path in MODULES}
    full = {
        folder.name: count
        for folder in folders
        if (count := len([*folder.glob("[!_]*.py")])) > FILES
    }
    long = {
        name_of(path): lines
        for path in MODULES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert (full, long) == ({}, {})


def test_functions_are_short() -> None:
    lengths = {
        f"{name_of(path)}.{node.name}": node.end_lineno - node.lineno + 1
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    long = {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}
    assert (long, median(lengths.values()) <= 8) == ({}, True)


def test_imports_inside_functions_and_from_the_package_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from tombola import api, __version__\n    import torch.nn\n")
    assert list(imports(file)) == ["tombola.api", "tombola", "torch.nn"]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_name_exists_once(path: Path) -> None:
    module = importlib.import_module(f"tombola.{name_of(path)}".rstrip("."))
    names = getattr(module, "__all__", [])
    assert names or path.name in ("__init__.py", "__main__.py")
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


LIGHT = """
import sys
import tombola, tombola.cli.main
for verb in ([], *([verb] for verb in tombola.cli.main.VERBS)):
    try:
        assert tombola.cli.main.main([*verb, "--help"]) == 0
    except SystemExit as done:
        assert done.code == 0
assert tombola.cli.main.main(["fnid"]) == tombola.cli.main.main(["find", "--sparsty", "1"]) == 2
assert tombola.cli.main.main(["completion", "bash"]) == 0
from importlib.metadata import packages_distributions
packages = packages_distributions()
loaded = {package for name in sys.modules for package in packages.get(name, ())}
light = {"tombola", "msgspec", "PyYAML", "shtab", "setuptools"}
assert loaded <= light, loaded - light
heavy = {"torch", "numpy", "scipy", "transformers", "accelerate", "rich", "pyarrow"}
import tombola.study.verdicts.matching, tombola.study.table.table, tombola.cli.show.plans
# a run with nothing to do
import tombola.lab.run.runner, tombola.lab.planfile.plan_file, tombola.lab.subjects
heavy -= {"rich"}
assert not (heavy - {"numpy", "scipy"}) & sys.modules.keys(), heavy & sys.modules.keys()
import tombola.api  # before a search's first step
late = {"scipy.stats", "altair", "pandas", "tabulate"}
assert not late & sys.modules.keys(), late & sys.modules.keys()
"""


def test_help_and_mistakes_load_nothing_heavy() -> None:
    command = [sys.executable, "-c", LIGHT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: tombola VERB" in done.stdout
    assert "--learning-rate X" in done.stdout


TABLE = """
import sys
import tombola.cli.main
for verb in ("matching", "transfer", "claims"):
    assert tombola.cli.main.main([verb, sys.argv[1]]) == 0
heavy = {"torch", "transformers", "accelerate", "pandas", "pyarrow", "statsmodels"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""


def test_verdicts_from_a_table_load_no_torch() -> None:
    table = ROOT.parents[1] / "docs" / "results" / "pilot.csv"
    command = [sys.executable, "-c", TABLE, str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
