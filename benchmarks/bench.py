"""Every measurement into results.json, and its tables into the page on performance: `make bench`.

python benchmarks/bench.py            measure everything, then write both files
python benchmarks/bench.py --quick    try all scripts in minutes; writes into the working folder
python benchmarks/bench.py --tables   make the tables again from results.json
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tables import limits, tables
from tombola.cli.main import QUIET

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results.json", HERE.parent / "docs" / "explanation" / "performance.md"
SCRIPTS = ("time_to_ticket", "parts", "prune", "memory", "cost")
PARTS = {"results": tables, "limits": limits}
"""What stands between two marks of a page, such as `<!-- limits: start -->`."""


def measured(script: str, flags: list[str]) -> dict[str, Any]:
    """What one script reports, and the seconds that it took."""
    print(f"--- {script}", file=sys.stderr, flush=True)
    began = time.monotonic()
    command = [sys.executable, str(HERE / f"{script}.py"), *flags]
    quiet = {**os.environ, **QUIET}
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=quiet)
    report: dict[str, Any] = json.loads(said.stdout)
    return {"took_seconds": round(time.monotonic() - began, 1), **report}


def written(page: str, results: dict[str, Any]) -> str:
    """A page with its parts that are made from the results."""
    for name, made in PARTS.items():
        start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
        before, rest = page.split(start)
        _, after = rest.split(end)
        page = f"{before}{start}\n\n{made(results)}\n{end}{after}"
    return page


def main() -> None:
    """Measure unless only the tables are wanted, and write."""
    quick = "--quick" in sys.argv
    target = Path("results-quick.json") if quick else RESULTS
    if "--tables" not in sys.argv:
        results = {script: measured(script, ["--quick"] * quick) for script in SCRIPTS}
        target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    results = json.loads(target.read_text(encoding="utf-8"))
    page = written(PAGE.read_text(encoding="utf-8"), results)
    if quick:
        print(page)
    else:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
