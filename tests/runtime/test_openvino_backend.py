"""OpenVINO's part in a process that goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import signal
from yolokkn.graph import read_model
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends.openvino import OpenVinoBackend

signal.signal(signal.SIGINT, signal.default_int_handler)
content = read_model(resolve_model("person-vehicle")).to_bytes()
for _ in range(3):
    models = [OpenVinoBackend(content, threads=1) for _ in range(3)]
    while models:
        models.pop(0)
taken = [bytearray(10_000) for _ in range(10_000)]  # what was let go of holds something else now
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("stopped")
"""


def test_ctrl_c_after_models_that_are_gone():
    """With AMX each openvino.Core gave the thread a signal stack; one that outlived it made of Ctrl-C a segmentation fault."""
    pytest.importorskip("openvino", reason="OpenVINO (extra openvino) is not installed")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SCRIPT], cwd=root, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr[-2000:]
