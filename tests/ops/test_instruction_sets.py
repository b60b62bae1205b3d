"""Every instruction set gives the same bytes: the same work in two processes, one of them held down to baseline."""

import os
import subprocess
import sys

import pytest

from yolokkn import ops

SCRIPT = """
import hashlib
import numpy as np
from tests.ops.heads import random_anchors, random_options, random_values
from yolokkn import ops

digest = hashlib.sha256()
for seed in range(60):
    rng = np.random.default_rng(seed)
    nc, count = int(rng.choice([1, 5, 33, 80])), random_anchors(rng)
    options = random_options(rng, nc)
    found = ops.decode_channels(random_values(rng, (4 + nc, count)), nc, **options)
    rows = ops.decode_rows(random_values(rng, (count, 5 + nc)), nc, objectness=True, **options)
    head = random_values(rng, (5 + nc, 4, 8), logits=True)
    anchors = [np.ones((1, 2), np.float32)]
    raw = ops.decode_heads([head], num_classes=nc, anchors=anchors, input_hw=(64, 64), formula="darknet", **options)
    far = ops.decode_distances([random_values(rng, (8 + nc, 4, 9), logits=True)], num_classes=nc, input_hw=(32, 72),
                               num_bins=2, **options)
    for c in (found, rows, raw, far):
        kept = ops.nms(c.boxes, c.scores, c.class_ids, iou_threshold=0.5)
        for array in (*c[:4], kept):
            digest.update(array.tobytes())
        digest.update(str(c.num_dropped).encode())
print(ops.instruction_set(), digest.hexdigest())
"""


def run(isa):
    environment = {k: v for k, v in os.environ.items() if k != "YOLOKKN_ISA"}
    environment.update({"YOLOKKN_ISA": isa} if isa else {}, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_baseline_gives_the_same_bytes():
    name, plain = run("baseline")
    best, fast = run(None)
    assert name == "baseline"
    if best == "baseline":
        pytest.skip(f"this machine or build has only {ops.instruction_set()}")
    assert plain == fast
