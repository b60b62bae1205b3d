"""The assigners in plain loops: what they must give, written from their definitions alone.

Everything is float32, as the fast ones compute. A result is a dict {(image, anchor): (target, weight)}.
"""

from __future__ import annotations

import numpy as np

SQUARE = 4.0
f32 = np.float32


def kinds_of(outputs):
    """List (level, stride, (w, h), rows, cols, first anchor) of every anchor shape of every level."""
    spec, result, first = outputs.spec, [], 0
    for level, (count, rows, cols) in enumerate(outputs.grid.level_shapes):
        stride = spec.strides[level]
        shapes = spec.anchors[level] if spec.anchors else [(SQUARE * stride, SQUARE * stride)] * count
        for shape in shapes:
            result.append((level, stride, shape, rows, cols, first))
            first += rows * cols
    return result


def anchors_of(outputs):
    """Yield (anchor, kind, row, col, center x, center y) of every anchor."""
    for kind, (_, stride, _, rows, cols, first) in enumerate(kinds_of(outputs)):
        for row in range(rows):
            for col in range(cols):
                yield first + row * cols + col, kind, row, col, f32((col + 0.5) * stride), f32((row + 0.5) * stride)


def usable(targets):
    boxes = targets.boxes.numpy()
    for i in range(len(targets)):
        x1, y1, x2, y2 = boxes[i]
        if not targets.ignored[i] and np.isfinite(boxes[i]).all() and x2 > x1 and y2 > y1:
            yield i, int(targets.image_index[i]), boxes[i]


def box_iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return f32(0)
    shared = f32(w * h)
    areas = [f32(max(x[2] - x[0], f32(0)) * max(x[3] - x[1], f32(0))) for x in (a, b)]
    return f32(shared / max(f32(areas[0] + areas[1] - shared), f32(1e-6)))


def center_of(box):
    return (box[0] + box[2]) / f32(2), (box[1] + box[3]) / f32(2)


def own_cell(box, stride, rows, cols):
    x, y = center_of(box)
    row, col = int(np.floor(y / f32(stride))), int(np.floor(x / f32(stride)))
    return min(max(row, 0), rows - 1), min(max(col, 0), cols - 1)


def settle(claims):
    """Claims (image, anchor, target, priority, weight): the highest priority wins, the lower target where equal."""
    result = {}
    for image, anchor, target, priority, weight in sorted(claims, key=lambda c: c[2]):
        held = result.get((image, anchor))
        if held is None or priority > held[1]:
            result[image, anchor] = (target, priority, weight)
    return {key: (target, weight) for key, (target, _, weight) in result.items()}


def by_shape(outputs, targets, iou_threshold=None):
    claims = []
    for target, image, box in usable(targets):
        w, h = box[2] - box[0], box[3] - box[1]
        fits = []
        for _, stride, (aw, ah), rows, cols, first in kinds_of(outputs):
            inter = min(w, f32(aw)) * min(h, f32(ah))
            row, col = own_cell(box, stride, rows, cols)
            fits.append((inter / (w * h + f32(aw) * f32(ah) - inter), first + row * cols + col))
        best = max(range(len(fits)), key=lambda k: fits[k][0])  # the first of equal ones
        for k, (fit, anchor) in enumerate(fits):
            if k == best or (iou_threshold is not None and fit > f32(iou_threshold)):
                claims.append((image, anchor, target, f32(fit + f32(k == best)), 1.0))
    return settle(claims)


def by_ratio(outputs, targets, max_ratio=4.0):
    claims = []
    for target, image, box in usable(targets):
        w, h = box[2] - box[0], box[3] - box[1]
        cx, cy = center_of(box)
        for _, stride, (aw, ah), rows, cols, first in kinds_of(outputs):
            quotients = (w / f32(aw), h / f32(ah))
            ratio = max(max(q, f32(1) / q) for q in quotients)
            if not ratio < max_ratio:
                continue
            row, col = own_cell(box, stride, rows, cols)
            beside = col + (-1 if cx / f32(stride) - f32(col) < 0.5 else 1)
            above = row + (-1 if cy / f32(stride) - f32(row) < 0.5 else 1)
            for place, (r, c) in enumerate(((row, col), (row, beside), (above, col))):
                if not (0 <= r < rows and 0 <= c < cols):
                    continue
                dx, dy = abs(f32((c + 0.5) * stride) - cx), abs(f32((r + 0.5) * stride) - cy)
                if outputs.spec.formula == "distance" and place and (dx > w / f32(2) or dy > h / f32(2)):
                    continue
                priority = f32(f32(1) / ratio + f32(2 * (place == 0)))
                claims.append((image, first + r * cols + c, target, priority, 1.0))
    return settle(claims)


def by_rank(outputs, targets, iou_threshold=0.3, per_level=10, at_least=2):
    claims, kinds = [], kinds_of(outputs)
    for target, image, box in usable(targets):
        cx, cy = center_of(box)
        fits = []
        for anchor, kind, _, _, x, y in anchors_of(outputs):
            w, h = f32(kinds[kind][2][0]), f32(kinds[kind][2][1])
            prior = (x - w / f32(2), y - h / f32(2), x + w / f32(2), y + h / f32(2))
            overlap = box_iou(prior, box)
            if overlap > 0:
                fits.append((-overlap, f32((x - cx) ** 2 + (y - cy) ** 2), anchor))
        fits.sort()
        for rank, (negative, _, anchor) in enumerate(fits[: per_level * len(outputs.grid.level_shapes)]):
            if -negative > f32(iou_threshold) or rank < at_least:
                claims.append((image, anchor, target, -negative, negative / fits[0][0]))
    return settle(claims)


def task_aligned(outputs, boxes, targets, top_k=10, alpha=0.5, beta=6.0, least_iou=0.1):
    """Boxes are the (B, A, 4) predictions as NumPy."""
    kinds, picked = kinds_of(outputs), []
    formula, scales = outputs.spec.formula, outputs.spec.scale_xy
    finest = min(outputs.spec.strides)
    for target, image, box in usable(targets):
        cx, cy = center_of(box)
        fits = []
        for anchor, kind, _, _, x, y in anchors_of(outputs):
            level, stride = kinds[kind][:2]
            if formula == "distance":
                reach = (max((box[2] - box[0]) / 2, finest / 2), max((box[3] - box[1]) / 2, finest / 2))
            elif formula == "darknet":
                reach = (f32(scales[level] if scales else 1) / f32(2) * f32(stride),) * 2
            else:
                reach = (stride, stride)
            if abs(x - cx) > reach[0] or abs(y - cy) > reach[1]:
                continue
            logits = [outputs.classes[image, anchor, int(targets.class_ids[target])]]
            if outputs.objectness is not None:
                logits.append(outputs.objectness[image, anchor])
            score = np.prod([1 / (1 + np.exp(-value.item())) for value in logits])
            overlap = box_iou(boxes[image, anchor], box)
            fits.append((-(score**alpha * float(overlap) ** beta), anchor, overlap))
        fits.sort(key=lambda fit: fit[:2])
        picked += [(image, anchor, target, overlap, -negative) for negative, anchor, overlap in fits[:top_k]]
    settled = settle(picked)
    overlaps = {(image, anchor, target): overlap for image, anchor, target, overlap, _ in picked}
    result = {}
    for (image, anchor), (target, alignment) in settled.items():
        kept = [(k, v[1]) for k, v in settled.items() if v[0] == target]
        best = max(value for _, value in kept)
        best_iou = max(overlaps[(*key, target)] for key, _ in kept)
        share = alignment / best if best > 0 else 1.0
        result[image, anchor] = (target, share * max(best_iou, least_iou))
    return result
