"""Pictures of a run: losses and figures over time, curves, the confusion matrix, predictions beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from yolokkn.data.batch import Batch
from yolokkn.data.sample import Sample
from yolokkn.evaluation.boxes import boxes_from_coco
from yolokkn.evaluation.curves import DetectionCurves, confusion_matrix, detection_curves
from yolokkn.files import write_atomically
from yolokkn.plotting import new_figure, save_figure
from yolokkn.runtime.draw import DrawStyle, draw
from yolokkn.training.run_folder import read_metrics
from yolokkn.training.validate import Measured
from yolokkn.types import Detections

_TILE_PX = 320
_MOST_NAMED = 12  # classes that have a line of their own


def plot_history(log: Path, target: Path) -> None:
    """Draw the terms, the learning rate, the figures and the speed over the epochs.

    Args:
        log: The run's metrics.jsonl.
        target: The PNG.
    """
    rows = read_metrics(log)
    steps = [row for row in rows if row["kind"] == "step"]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    if not epochs:
        return
    names = sorted(epochs[-1]["terms"], key=lambda name: name != "total")
    panels = len(names) + 4
    columns = min(4, panels)
    figure, axes = new_figure(-(-panels // columns), columns)
    per_epoch = epochs[0]["step"] / max(epochs[0]["epoch"], 1)
    at_step = [row["step"] / per_epoch for row in steps]
    at = [row["epoch"] for row in epochs]
    for axis, name in zip(axes, names, strict=False):
        values = [np.nan if row["terms"].get(name) is None else row["terms"][name] for row in steps]
        axis.plot(at_step, values, color="0.8", linewidth=0.8)
        axis.plot(at, [row["terms"].get(name, np.nan) for row in epochs], marker=".", color="tab:blue")
        axis.set_title(f"loss: {name}")
    rest = axes[len(names) :]
    rest[0].plot(at_step, [row["lr"] for row in steps], color="tab:green")
    rest[0].set_title("learning rate")
    norms = [np.nan if row["grad_norm"] is None else max(row["grad_norm"], 1e-12) for row in steps]
    rest[1].semilogy(at_step, norms, color="tab:red", linewidth=0.8)
    rest[1].set_title("norm of the gradient, before clipping")
    measured = [row for row in epochs if row.get("figures")]
    for name in [n for n in (measured[-1]["figures"] if measured else {}) if n.endswith(("AP", "AP50"))]:
        rest[2].plot(
            [r["epoch"] for r in measured], [r["figures"].get(name, np.nan) for r in measured], marker=".", label=name
        )
    rest[2].set_title("validation")
    rest[2].set_ylim(0, 1)
    if measured:
        rest[2].legend()
    rest[3].plot(at, [row["images_per_s"] for row in epochs], marker=".", label="images a second")
    rest[3].plot(at, [100 * row["wait_share"] for row in epochs], marker=".", label="% waiting for data")
    rest[3].set_title("speed")
    rest[3].legend()
    for axis in axes[:panels]:
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
    for axis in axes[panels:]:
        axis.set_visible(False)
    save_figure(figure, target)


def plot_measured(measured: Measured, folder: Path) -> None:
    """Draw precision over recall, F1 over confidence and the confusion matrix of the boxes: pr.png, f1.png, confusion.png."""
    truth, found, names = boxes_from_coco(measured.dataset, measured.results)
    curves = detection_curves(truth, found, names)
    _plot_curves(curves, folder)
    confused = confusion_matrix(truth, found, len(names), score_threshold=max(curves.best_confidence, 0.05))
    _plot_confusion(confused, names, folder / "confusion.png")


def _plot_curves(curves: DetectionCurves, folder: Path) -> None:
    known = np.flatnonzero(curves.has_truth)
    mean_ap = float(curves.average_precision[known].mean()) if len(known) else 0.0
    for file, x, y, labels in (
        ("pr.png", curves.recalls, curves.precision_at_recall, ("recall", "precision")),
        ("f1.png", curves.confidences, curves.f1, ("confidence", "F1")),
    ):
        figure, (axis,) = new_figure(1, 1, 6.4, 4.8)
        for i in known[:_MOST_NAMED] if len(known) <= _MOST_NAMED else []:
            label = (
                f"{curves.class_names[i]} {curves.average_precision[i]:.3f}"
                if file == "pr.png"
                else curves.class_names[i]
            )
            axis.plot(x, y[i], linewidth=1, label=label)
        if len(known):
            what = f"all {mean_ap:.3f} at IoU 0.5" if file == "pr.png" else (
                f"all {curves.mean_f1.max():.3f} at confidence {curves.best_confidence:.2f}"
            )  # fmt: skip
            axis.plot(x, y[known].mean(0), color="black", linewidth=2.5, label=what)
            axis.legend(fontsize=8)
        axis.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, 1), ylim=(0, 1.02))
        axis.grid(alpha=0.3)
        save_figure(figure, folder / file)


def _plot_confusion(counts: np.ndarray, names: Sequence[str], target: Path) -> None:
    labels = [*names, "background"]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(4.0, 0.45 * len(labels) + 2.5), 24.0)
    figure, (axis,) = new_figure(1, 1, side + 1, side)
    drawn = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axis, label="share of the row")
    axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set(xlabel="found", ylabel="there")
    if len(labels) <= 25:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(counts[row, column])
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    save_figure(figure, target)


def plot_samples(samples: Sequence[Sample], found: Sequence[Detections], names: Sequence[str], target: Path) -> None:
    """Draw pictures with their truth on the left and what was found on the right."""
    import cv2

    rows = []
    for sample, detections in zip(samples, found, strict=True):
        truth = draw(sample.image, truth_as_detections(sample, names), style=DrawStyle(show_scores=False))
        rows.append([_tile(truth, "truth"), _tile(draw(sample.image, detections), "found")])
    pairs = [np.concatenate(row, axis=1) for row in rows]
    columns = 2 if len(pairs) > 3 else 1
    pairs += [np.full_like(pairs[0], 255)] * (-len(pairs) % columns)
    lines = [np.concatenate(pairs[i : i + columns], axis=1) for i in range(0, len(pairs), columns)]
    write_atomically(target, cv2.imencode(".png", np.concatenate(lines))[1].tobytes())


def plot_batch(batch: Batch, names: Sequence[str], target: Path, limit: int = 16) -> None:
    """Draw pictures of a training batch, augmented as they are, with their targets."""
    import cv2

    tiles = []
    targets = batch.targets
    for i, picture in enumerate(batch.images[:limit].cpu().numpy()):
        chosen = ((targets.image_index == i) & ~targets.ignored).cpu().numpy()
        keypoints = None
        if targets.keypoints is not None:
            keypoints = _shown_keypoints(targets.keypoints.cpu().numpy()[chosen])
        shown = Detections(
            boxes=targets.boxes.cpu().numpy()[chosen].astype(np.float32),
            scores=np.ones(int(chosen.sum()), np.float32),
            class_ids=targets.class_ids.cpu().numpy()[chosen].astype(np.int32),
            keypoints=keypoints,
            class_names=tuple(names),
        )
        image = np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1])
        tiles.append(_tile(draw(image, shown, style=DrawStyle(show_scores=False))))
    columns = min(4, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    write_atomically(target, cv2.imencode(".png", np.concatenate(lines))[1].tobytes())


def truth_as_detections(sample: Sample, names: Sequence[str]) -> Detections:
    """Return a sample's objects, without ignored ones, as if they had been found with certainty."""
    kept = ~sample.ignored
    return Detections(
        boxes=sample.boxes[kept].astype(np.float32),
        scores=np.ones(int(kept.sum()), np.float32),
        class_ids=sample.class_ids[kept].astype(np.int32),
        keypoints=None if sample.keypoints is None else _shown_keypoints(sample.keypoints[kept]),
        class_names=tuple(names),
    )


def _shown_keypoints(keypoints: np.ndarray) -> np.ndarray:
    shown: np.ndarray = keypoints.astype(np.float32)
    shown[..., 2] = shown[..., 2] > 0
    return shown


def _tile(image: np.ndarray, title: str = "") -> np.ndarray:
    """Fit a picture into a square tile."""
    import cv2

    height, width = image.shape[:2]
    scale = _TILE_PX / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    tile: np.ndarray = np.full((_TILE_PX, _TILE_PX, 3), 255, np.uint8)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile[: size[1], : size[0]] = cv2.resize(image, size, interpolation=interpolation)
    if title:
        cv2.putText(tile, title, (6, _TILE_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
    return tile


def plot_figures(figures: Mapping[str, Mapping[str, float]], target: Path) -> None:
    """Draw the AP of each class, by kind of comparison."""
    figure, axes = new_figure(1, max(len(figures), 1), 5.0, 4.0)
    for axis, (kind, per_class) in zip(axes, figures.items(), strict=False):
        known = sorted(((v, k) for k, v in per_class.items() if v >= 0), reverse=True)[:30]
        axis.barh([name for _, name in known][::-1], [value for value, _ in known][::-1])
        axis.set(title=f"AP of the classes: {kind}", xlim=(0, 1))
        axis.tick_params(axis="y", labelsize=7)
    save_figure(figure, target)
