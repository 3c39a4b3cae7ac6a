"""What a report may run: its own scripts, named by the digests in its policy, and nothing else."""

import json
import re
from base64 import b64encode
from hashlib import sha256

from tombola.report.pages.assets import scripts

__all__ = ["without_own_scripts"]


def without_own_scripts(html: str) -> str:
    """A page without its own scripts and their data; a script that is not its own fails the test.

    Args:
        html: the page, whose policy must name each of its scripts.
    """
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    own = scripts(explored=True)

    def check(found: re.Match[str]) -> str:
        kind, code = found.groups()
        if kind == ' type="application/json" id="data"':
            assert {"runs", "sets"} <= json.loads(code).keys()
            assert not set("<>&") & set(code)
        else:
            assert (kind, code in own) == ("", True)
            assert b64encode(sha256(code.encode()).digest()).decode() in allowed
        return ""

    return re.sub(r"<script([^>]*)>(.*?)</script>", check, html, flags=re.DOTALL)
