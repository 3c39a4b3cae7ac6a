"""Builds the documentation as a site: `make docs` writes build/site.

Pages are copied with the folders that they have here, so that their links hold. What stands
between `<!-- made: verbs -->` and `<!-- end -->` gives way to what the code says, and what stands
after `<!-- not on the site -->` is left out. Nothing is fetched, neither now nor when the site is
read, and its search works on pages that are opened as files.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from reference import MADE

ROOT = Path(__file__).parents[1]
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
STATIC = Path(__file__).parent / "site"
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
MARKER = re.compile(r"<!-- made: ([a-z-]+) -->.*?<!-- end -->", re.DOTALL)
LEFT_OUT = re.compile(r"<!-- not on the site -->.*?<!-- end -->\n*", re.DOTALL)
SHIM = "https://unpkg.com/iframe-worker/shim"
"""What zensical's search loads on pages that are opened as files."""
FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]* src=\"https?:[^\"]*|<link[^>]* href=\"https?:[^\"]*"
)
"""What a browser fetches from elsewhere when it shows a page."""


def main() -> int:
    """Build the site, and return the exit status: 0 only without a warning."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(STATIC, PAGES / "site")
    for page in pages():
        copy_page(page)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if not status:
        for made in SITE.rglob("*.html"):
            made.write_text(local(made.read_text(encoding="utf-8"), made), encoding="utf-8")
        print(f"site  {SITE.relative_to(ROOT)}/index.html")
    return status


def pages() -> Iterator[Path]:
    """The pages of the site."""
    yield from ROOT.glob("*.md")
    yield from (ROOT / "docs").rglob("*.md")
    yield from (ROOT / "design").glob("*.md")
    yield from sorted((ROOT / "evidence").glob("*.md"))


def copy_page(page: Path) -> None:
    """Copy a page, with what the code says in place of its markers and with the files it links to.

    Raises: FileNotFoundError, if there is no such file; KeyError, for an unknown marker.
    """
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        linked = (page.parent / target).resolve()
        if linked.suffix != ".md":
            shutil.copy(linked, placed(linked))
    filled = MARKER.sub(lambda marker: MADE[marker[1]](), LEFT_OUT.sub("", text))
    placed(page).write_text(filled, encoding="utf-8")


def placed(file: Path) -> Path:
    """Where a file of the repository stands among the pages."""
    place = PAGES / file.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def local(text: str, page: Path) -> str:
    """A page of the site that loads our own script for its search, and nothing from elsewhere.

    Raises: ValueError, if it would still fetch something.
    """
    ours = os.path.relpath(SITE / "site" / "frame_worker.js", page.parent)
    text = text.replace(SHIM, ours)
    if found := FETCHED.search(text):
        raise ValueError(f"{page}: expected a page that fetches nothing, got {found[0]}")
    return text


if __name__ == "__main__":
    sys.exit(main())
