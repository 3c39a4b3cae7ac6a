"""Runs examples/ticket.ipynb and keeps what its cells show, so that a reader sees it on the web.

Everything else that a run leaves in a notebook is left out: times, versions, and the folder it ran
in. Three to four minutes on two cores.

    jupytext --sync examples/ticket.py      # after a change of either
    python tools/build_notebook.py
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jupytext
import nbclient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "ticket.ipynb"
ABOUT = ("jupytext", "kernelspec")
"""What the notebook's metadata keep."""


def main() -> None:
    """Run the notebook, and write it with its outputs."""
    notebook = jupytext.read(NOTEBOOK)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(notebook, resources={"metadata": {"path": folder}}).execute()
        clean(notebook)
        check(notebook, folder)
    jupytext.write(notebook, NOTEBOOK)
    print(f"notebook  {NOTEBOOK} ({NOTEBOOK.stat().st_size:,} bytes)")


def clean(notebook: Any) -> None:
    """Leave out what differs from run to run."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    for name in [*notebook.metadata]:
        if name not in ABOUT:
            del notebook.metadata[name]


def check(notebook: Any, folder: str) -> None:
    """Refuse outputs that a reader should not see.

    Raises: ValueError, for a warning, an error, or the folder that it ran in.
    """
    for output in outputs(notebook):
        if "data" not in output:
            raise ValueError(f"expected tables and pictures, got {output}. Keep the cell quiet.")
        if folder in str(output):
            raise ValueError(f"expected no absolute path, got {folder} in {output}.")


def outputs(notebook: Any) -> Iterator[Any]:
    """What the cells show."""
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


if __name__ == "__main__":
    main()
