"""The tracking metrics as their papers define them: loops over frames, thresholds and identities, SciPy's assignment."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import linear_sum_assignment

EPSILON = float(np.finfo(float).eps)


def iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def frames_of(truth, results):
    """Per frame: ids of the ground truth, ids of the results, their IoUs."""
    for frame in sorted({int(f) for f in (*truth.frames, *results.frames)}):
        mine, theirs = (np.flatnonzero(t.frames == frame) for t in (truth, results))
        ious = np.array([[iou(truth.boxes[i], results.boxes[j]) for j in theirs] for i in mine])
        yield truth.ids[mine].tolist(), results.ids[theirs].tolist(), ious.reshape(len(mine), len(theirs))


def clear(truth, results, threshold=0.5):
    """MOTA's counts: (true positives, false negatives, false positives, switches, fragments, MT, PT, ML, sum of IoUs)."""
    tp = fn = fp = switches = 0
    total = 0.0
    last: dict[int, int] = {}
    before: dict[int, int] = {}
    seen: dict[int, int] = {}
    matched: dict[int, int] = {}
    begun: dict[int, int] = {}
    for mine, theirs, ious in frames_of(truth, results):
        for who in mine:
            seen[who] = seen.get(who, 0) + 1
        if not mine or not theirs:
            fn, fp = fn + len(mine), fp + len(theirs)
            continue
        scores = ious + 1000.0 * np.array([[before.get(g) == t for t in theirs] for g in mine])
        scores[ious < threshold - EPSILON] = 0
        pairs = [(i, j) for i, j in zip(*linear_sum_assignment(-scores), strict=True) if scores[i, j] > EPSILON]
        now = {mine[i]: theirs[j] for i, j in pairs}
        for who, name in now.items():
            switches += who in last and last[who] != name
            begun[who] = begun.get(who, 0) + (who not in before)
            matched[who] = matched.get(who, 0) + 1
        last |= now
        before = now
        tp, fn, fp = tp + len(pairs), fn + len(mine) - len(pairs), fp + len(theirs) - len(pairs)
        total += sum(ious[i, j] for i, j in pairs)
    shares = [matched.get(who, 0) / count for who, count in seen.items()]
    mt, pt = sum(s > 0.8 for s in shares), sum(0.2 <= s <= 0.8 for s in shares)
    fragments = sum(count - 1 for count in begun.values())
    return tp, fn, fp, switches, fragments, mt, pt, len(shares) - mt - pt, total


def identity(truth, results, threshold=0.5):
    """(IDTP, IDFN, IDFP) by the assignment of identities with least misses and false boxes."""
    truths, names = sorted(set(truth.ids.tolist())), sorted(set(results.ids.tolist()))
    together = np.zeros((len(truths), len(names)))
    for mine, theirs, ious in frames_of(truth, results):
        for i, j in zip(*np.nonzero(ious >= threshold), strict=True):
            together[truths.index(mine[i]), names.index(theirs[j])] += 1
    rows, columns = linear_sum_assignment(-together)
    tp = int(together[rows, columns].sum())
    return tp, len(truth) - tp, len(results) - tp


def hota(truth, results, alphas):
    """(DetA, AssA, LocA), each a list over the thresholds."""
    frames = list(frames_of(truth, results))
    potential: dict[tuple[int, int], float] = {}
    for mine, theirs, ious in frames:
        for i, j in zip(*np.nonzero(ious), strict=True):
            share = ious[i, j] / (ious[i].sum() + ious[:, j].sum() - ious[i, j])
            potential[mine[i], theirs[j]] = potential.get((mine[i], theirs[j]), 0.0) + share
    num_truth = {who: int((truth.ids == who).sum()) for who in truth.ids.tolist()}
    num_result = {name: int((results.ids == name).sum()) for name in results.ids.tolist()}
    matches = []
    for mine, theirs, ious in frames:
        scores = np.zeros_like(ious)
        for i, j in zip(*np.nonzero(ious), strict=True):
            both = potential[mine[i], theirs[j]]
            scores[i, j] = ious[i, j] * both / (num_truth[mine[i]] + num_result[theirs[j]] - both)
        for i, j in zip(*linear_sum_assignment(-scores), strict=True):
            matches.append((mine[i], theirs[j], ious[i, j]))
    out = []
    for alpha in alphas:
        kept = [m for m in matches if m[2] >= alpha - EPSILON]
        tp = len(kept)
        agreements = []
        for who, name, _ in kept:
            together = sum(m[0] == who and m[1] == name for m in kept)
            agreements.append(together / (num_truth[who] + num_result[name] - together))
        det = tp / max(1, len(truth) + len(results) - tp)
        out.append((det, math.fsum(agreements) / max(1, tp), math.fsum(m[2] for m in kept) / tp if tp else 1.0))
    return [list(column) for column in zip(*out, strict=True)]
