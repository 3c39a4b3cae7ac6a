"""The notebook next to its script, and run with few examples."""

from pathlib import Path
from typing import Any

import jupytext
import nbclient
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
FEW = 'RECIPE = {"train_limit": 32, "test_limit": 16, "max_length": 32, "epochs": 1}'


def test_the_notebook_and_its_script_have_the_same_cells() -> None:
    notebook, script = (jupytext.read(EXAMPLES / f"ticket.{end}") for end in ("ipynb", "py"))
    cells = [[(cell.cell_type, cell.source) for cell in each.cells] for each in (notebook, script)]
    assert cells[0] == cells[1], "run `jupytext --sync examples/ticket.py`"


@pytest.mark.slow  # a process of its own, which loads everything
def test_the_notebook_runs_and_shows_what_it_found(tmp_path: Path) -> None:
    notebook = jupytext.read(EXAMPLES / "ticket.ipynb")
    (recipe,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    recipe.source = FEW
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    shown: list[dict[str, Any]] = [
        output["data"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "data" in output
    ]
    assert [min(each) for each in shown] == [
        "text/html",  # what was found
        "image/svg+xml",
        "text/html",  # the ticket
        "text/html",  # its layers
        "text/plain",  # losses
        "text/html",  # the trained network
    ]
    assert "minus dense" in shown[0]["text/html"]
    assert not [out for cell in notebook.cells for out in cell.get("outputs", ()) if "name" in out]
