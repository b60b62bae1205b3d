#!/usr/bin/env bash
# What the tests of the page want: Chromium from Debian (as root), and playwright in the active environment, which drives it.
set -euo pipefail
command -v chromium >/dev/null || apt-get install -y -q --no-install-recommends chromium
pip install -q -c constraints.txt playwright
