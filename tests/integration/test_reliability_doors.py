"""Every native door under arguments that do not fit: a Python exception of a documented kind, never a crash."""

import json
import subprocess
import sys
from pathlib import Path

from tests.integration.door_calls import doors
from tests.strategies import scaled
from yolokkn import ops

ROOT = Path(__file__).parents[2]


def test_twenty_thousand_spoiled_calls():
    command = [sys.executable, "-m", "tests.integration.door_calls", "15", str(scaled(20_000))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=scaled(120))
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    ends = report["ends"]
    names = {name.split(":")[0] for name in ends}
    assert all(ends[f"{name}: refused"] > 300 and ends[f"{name}: taken"] > 50 for name in names)
    helpers = {"implementations", "instruction_set", "reference", "Candidates"}
    assert names == (set(ops.__all__) - helpers) | {"assign", "assign_pairs", "Tracker.update"}


def test_what_fits_is_taken():
    import numpy as np

    for seed in range(50):
        for function, arguments, _ in doors(np.random.default_rng(seed)).values():
            function(**arguments)
