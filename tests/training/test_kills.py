"""SIGKILL while checkpoints, results and caches are written: what is there afterwards is the old or the new, never half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.strategies import scaled


def test_300_kills_leave_the_old_or_the_new(tmp_path):
    count = scaled(300)
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.kill_writers", str(tmp_path), str(count)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    assert outcomes["killed in the middle of a file"] > count / 20  # else the kills prove nothing
    assert outcomes["kept the old"] > 0 and outcomes["has a new one"] > 0
