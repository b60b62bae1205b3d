"""VOC's evaluation written as the development kit describes it: one detection after the other. Slow and obvious."""

from __future__ import annotations

from fractions import Fraction


def iou(a, b, one=0.0):
    w = min(a[2], b[2]) - max(a[0], b[0]) + one
    h = min(a[3], b[3]) - max(a[1], b[1]) + one
    if w <= 0 or h <= 0:
        return 0.0
    areas = [max(r[2] - r[0] + one, 0) * max(r[3] - r[1] + one, 0) for r in (a, b)]
    return w * h / (areas[0] + areas[1] - w * h)


def verdicts(truth, found, class_id, threshold, one=0.0):
    """True or False for each detection of a class that counts, best score first."""
    rows = [i for i in range(len(found)) if found.class_ids[i] == class_id]
    rows.sort(key=lambda i: -found.scores[i])
    taken = set()
    out = []
    for i in rows:
        best, most = None, -1.0
        for j in range(len(truth)):
            if truth.image_index[j] != found.image_index[i] or truth.class_ids[j] != class_id:
                continue
            overlap = iou(found.boxes[i], truth.boxes[j], one)
            if overlap > most:
                best, most = j, overlap
        if best is None or most < threshold:
            out.append(False)
        elif not truth.difficult[best]:
            out.append(best not in taken)
            taken.add(best)
    return out


def precisions_and_recalls(right, num_truths):
    points, hits = [], 0
    for k, is_right in enumerate(right, 1):
        hits += is_right
        points.append((Fraction(hits, k), Fraction(hits, num_truths)))
    return points


def ap_11_point(right, num_truths):
    points = precisions_and_recalls(right, num_truths)
    return float(sum(max((p for p, r in points if r >= Fraction(t, 10)), default=Fraction(0)) for t in range(11)) / 11)


def ap_area(right, num_truths):
    points = precisions_and_recalls(right, num_truths)
    total, last = Fraction(0), Fraction(0)
    for k, (_, recall) in enumerate(points):
        total += (recall - last) * max(p for p, _ in points[k:])
        last = recall
    return float(total)
