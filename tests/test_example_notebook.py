"""The notebook next to its script, with what its cells show, and run with few examples."""

from pathlib import Path
from typing import Any

import jupytext
import nbclient
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "ticket.ipynb"
FEW = """
RECIPE = {"train_limit": 32, "test_limit": 16, "max_length": 96, "query_length": 32, "epochs": 1}
CORES = {"workers": 1, "threads": 1}
"""
SHOWN = [
    "text/html",  # what was found
    "image/svg+xml",
    "text/html",  # the ticket
    "text/html",  # its layers
    "text/plain",  # losses
    "text/html",  # the trained network
]
"""The richest form of each output."""


def outputs(notebook: Any) -> list[Any]:
    """What the cells show."""
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def test_the_notebook_and_its_script_have_the_same_cells() -> None:
    notebook, script = (jupytext.read(EXAMPLES / f"ticket.{end}") for end in ("ipynb", "py"))
    cells = [[(cell.cell_type, cell.source) for cell in each.cells] for each in (notebook, script)]
    assert cells[0] == cells[1], "run `jupytext --sync examples/ticket.py`"


def test_the_notebook_is_kept_with_what_its_cells_show_and_nothing_else() -> None:
    notebook = jupytext.read(NOTEBOOK)
    shown = [min(output["data"]) for output in outputs(notebook)]
    assert shown == SHOWN, "run `python tools/build_notebook.py`"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any("execution" in cell.metadata for cell in code)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "/tmp/" not in text
    assert len(text) < 150_000


@pytest.mark.slow  # a process of its own, which loads everything
def test_the_notebook_runs_and_shows_what_it_found(tmp_path: Path) -> None:
    notebook = jupytext.read(NOTEBOOK)
    (recipe,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    recipe.source = FEW
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    found = outputs(notebook)
    assert [min(output["data"]) for output in found if "data" in output] == SHOWN
    assert "minus dense" in found[0]["data"]["text/html"]
    assert not [output for output in found if "name" in output]
