#!/usr/bin/env bash
# Installs Chromium, in which the tests of reports open them; on Debian and its relatives, as root.
set -euo pipefail
command -v chromium > /dev/null || command -v chromium-browser > /dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } > /dev/null 2>&1 && exit 0
fi
echo "Chromium could not be installed: NO REPORT IS TESTED IN A BROWSER. Install it, and run the tests again." >&2
