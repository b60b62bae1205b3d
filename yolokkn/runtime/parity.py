"""Does every backend, and every stage, give what the specification gives? One picture, stage by stage.

The reference is the slow NumPy preprocessing and postprocessing around a network that runs as its file has it. Each stage of a
backend is fed with what the reference's stage before it gave, so that a difference is that stage's own; the last row
holds the backend's whole way from picture to detections against the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from yolokkn.errors import YolokknError
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions, Layout
from yolokkn.ops import Candidates
from yolokkn.ops import reference as slow
from yolokkn.runtime.differences import SPARE_MASK_PIXELS, compare_arrays, compare_detections, mask_differences
from yolokkn.runtime.model import Model, as_float, check_image
from yolokkn.runtime.parity_report import (
    STAGES,
    ColumnResult,
    PictureParity,
    StageResult,
    counted,
    matched,
    outputs,
    sizes,
)
from yolokkn.runtime.postprocess import postprocess, select
from yolokkn.runtime.tolerances import KERNELS, TOLERANCES, Tolerance
from yolokkn.types import Detections

_THRESHOLDS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
_ENOUGH = 3  # detections that make a comparison worth something

Outputs = dict[str, np.ndarray]


def compare_models(
    models: Mapping[str, Model],
    reference: Model,
    image: np.ndarray,
    *,
    precision: str = "fp32",
    picture: str = "picture",
    reference_name: str = "reference",
) -> PictureParity:
    """Compare models with a reference over one picture, stage by stage.

    Args:
        models: By the name of their column: one file on several backends, say.
        reference: Runs the network of the reference; its thresholds hold for all. Where it finds fewer than three
            detections, the score threshold is lowered until there are some.
        image: (H, W, 3) uint8 BGR.
        precision: "fp32", "fp16", "int8" or "int8-same": whose row of `TOLERANCES` holds for networks and detections.
        picture: The picture's name, for messages.
        reference_name: What the reference is, for messages.

    Raises:
        TypeError: The image is no uint8 array.
        ValueError: The image has another shape, or there is no such precision.

    Cost:
        One run of each network, and seconds of NumPy for a picture full of masks.
    """
    check_image(image)
    if precision not in TOLERANCES:
        raise ValueError(f"compare_models: precision must be one of {', '.join(TOLERANCES)}, got {precision!r}")
    truth = _Truth.of(reference, image)
    tolerance = TOLERANCES[precision]
    columns = tuple(
        ColumnResult(name, _Column(model.with_options(**_chosen(truth.options)), truth, tolerance).stages())
        for name, model in models.items()
    )
    threshold = truth.options.score_threshold
    hw = (image.shape[0], image.shape[1])
    return PictureParity(picture, hw, reference_name, precision, threshold, len(truth.detections), columns)


def _chosen(options: DecodeOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("score_threshold", "iou_threshold", "max_detections")}


@dataclass(frozen=True)
class _Truth:
    """What the reference gives at each stage."""

    image: np.ndarray
    letterbox: Letterbox
    blob: np.ndarray
    layout: Layout
    raw: Outputs
    options: DecodeOptions
    detections: Detections

    @classmethod
    def of(cls, model: Model, image: np.ndarray) -> _Truth:
        layout = replace(model.layout, implementation="reference")
        letterbox = model.letterbox_for((image.shape[0], image.shape[1]))
        rule = layout.preprocess
        blob = slow.letterbox(
            image, letterbox, swap_rb=rule.swap_rb, scale=rule.scale, offset=rule.offset, pad_value=rule.pad_value
        )
        raw = _run(model, blob)
        options, found = model.options, postprocess(layout, raw, 0, letterbox, model.options)
        for threshold in _THRESHOLDS:
            if len(found) >= _ENOUGH:
                break
            if threshold < options.score_threshold:
                options = replace(options, score_threshold=threshold)
                found = postprocess(layout, raw, 0, letterbox, options)
        return cls(image, letterbox, blob, layout, raw, options, found)


def _run(model: Model, blob: np.ndarray) -> Outputs:
    """Run a network over one prepared picture: (3, h, w) float32, the first of its batch."""
    batch: np.ndarray = np.zeros((model.batch, *blob.shape), np.float32)
    batch[0] = blob
    h, w = blob.shape[1:]
    return as_float(model.backend.run(model.feeds(batch, (h, w))))


class _Column:
    """The stages of one model against the reference's."""

    def __init__(self, model: Model, truth: _Truth, tolerance: Tolerance) -> None:
        self._model, self._truth, self._tolerance = model, truth, tolerance
        self._raw: Outputs | None = None  # this network's outputs for the reference's picture
        self._are_alike = False  # they have the reference's names and shapes

    def stages(self) -> tuple[StageResult, ...]:
        """Return every stage's result, in their order."""
        first = [self._preprocess(), self._network()]
        return (*first, *self._postprocessing(), self._detections())

    def _preprocess(self) -> StageResult:
        truth, model = self._truth, self._model
        letterbox, feeds = model.workspace().prepare(truth.image)
        blob = np.asarray(feeds[model.picture.name][0], np.float32)
        wanted, rule = truth.layout.preprocess, model.layout.preprocess
        unlike = "" if str(rule) == str(wanted) else f"{rule} against {wanted}; "
        if blob.shape != truth.blob.shape:
            said = f"{unlike}input {sizes(blob.shape)} against {sizes(truth.blob.shape)}"
            return StageResult("preprocess", False, sizes(blob.shape), said)
        scale = np.array(wanted.scale, np.float32)[:, None, None]
        slack = self._tolerance.grey if model.picture.dtype == "float16" else KERNELS.grey
        found = compare_arrays(truth.blob / scale, blob / scale, slack * 1.05)  # float32 rounds behind the kernel
        if letterbox != truth.letterbox:
            unlike += f"content {sizes(letterbox.resized_hw)} against {sizes(truth.letterbox.resized_hw)}; "
        text = f"{found.largest:.2g} grey levels"
        detail = f"{unlike}{counted(found, 'grey levels')}"
        return StageResult("preprocess", found.num_beyond == 0, text, detail, found.numbers())

    def _network(self) -> StageResult:
        truth, model = self._truth, self._model
        try:
            self._raw = _run(model, truth.blob)
        except (YolokknError, RuntimeError, ValueError, TypeError) as error:
            said = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
            return StageResult("network", False, "does not run", f"it does not run: {said}")
        mine = {name: value.shape for name, value in self._raw.items()}
        theirs = {name: value.shape for name, value in truth.raw.items()}
        self._are_alike = mine == theirs
        if not self._are_alike:
            said = f"outputs {outputs(mine)} against {outputs(theirs)}: see the detections"
            return StageResult("network", None, "other outputs", said)
        if not model.layout.needs_nms and type(model.layout) is type(truth.layout):
            return self._finished_rows()
        return self._raw_values(self._raw)

    def _raw_values(self, raw: Outputs) -> StageResult:
        t = self._tolerance
        compared = {k: compare_arrays(v, raw[k], t.absolute, t.relative) for k, v in self._truth.raw.items()}
        name, worst = max(compared.items(), key=lambda item: (item[1].share, item[1].largest))
        agrees = all(c.share <= t.share for c in compared.values())
        text = f"{worst.largest:.2g}" + (f", {worst.num_beyond:,} of {worst.num_values:,}" if worst.num_beyond else "")
        detail = f"output {name}: {counted(worst, '')}"
        return StageResult("network", agrees, text, detail, {k: c.numbers() for k, c in compared.items()})

    def _finished_rows(self) -> StageResult:
        """Compare finished boxes as a set: in which order a network lists rows of equal scores is noise."""
        truth = self._truth
        options = replace(truth.options, max_detections=10**6)
        wanted, found = (
            Detections(rows.boxes, rows.scores, rows.class_ids)
            for raw in (truth.raw, self._raw or {})
            for rows in [truth.layout.decode(raw, 0, truth.letterbox.input_hw, options)]
        )
        compared = compare_detections(
            wanted,
            found,
            self._tolerance,
            score_threshold=options.score_threshold,
            max_detections=options.max_detections,
        )
        agrees = compared.is_noise
        text = f"{compared.num_matched} of {compared.num_reference} rows"
        return StageResult("network", agrees, text, matched(compared), compared.numbers())

    def _postprocessing(self) -> list[StageResult]:
        """Decode, suppress and finish the reference's raw outputs (or this network's, where it has others)."""
        truth, layout = self._truth, self._model.layout
        raw = truth.raw if self._are_alike else self._raw
        if raw is None:
            return [StageResult(stage, None, "-") for stage in STAGES[2:6]]
        twin = truth.layout if self._are_alike else replace(layout, implementation="reference")
        hw, options = truth.letterbox.input_hw, truth.options
        wanted = twin.decode(raw, 0, hw, options)
        results = [_compare_candidates(wanted, layout.decode(raw, 0, hw, options))]
        kept, mine = select(twin, wanted, options), select(layout, wanted, options)
        same = kept.tolist() == mine.tolist()
        said = f"{len(mine)} kept" + ("" if same else f" against {len(kept)}, or in another order")
        results.append(StageResult("nms", same, said, said, {"reference": kept.tolist(), "found": mine.tolist()}))
        finished = [postprocess(one, raw, 0, truth.letterbox, options) for one in (twin, layout)]
        return [*results, _compare_masks(*finished), _compare_keypoints(*finished)]

    def _detections(self) -> StageResult:
        truth, model = self._truth, self._model
        try:
            found = model.workspace().process(truth.image)
        except (YolokknError, RuntimeError, ValueError, TypeError):
            return StageResult("detections", None, "-")
        compared = compare_detections(
            truth.detections,
            found,
            self._tolerance,
            gain=min(truth.letterbox.gain_xy),
            score_threshold=truth.options.score_threshold,
            iou_threshold=truth.options.iou_threshold if truth.layout.needs_nms else 1.0,
            max_detections=truth.options.max_detections,
        )
        text = f"{compared.num_matched} of {compared.num_reference}, {compared.box_px:.2g} px, {compared.score:.2g}"
        agrees = compared.is_noise
        return StageResult("detections", agrees, text, matched(compared), compared.numbers())


def _compare_candidates(wanted: Candidates, found: Candidates) -> StageResult:
    text = f"{len(found.scores)} boxes"
    same = len(wanted.scores) == len(found.scores) and all(
        np.array_equal(getattr(wanted, name), getattr(found, name)) for name in ("anchor_index", "class_ids")
    )
    if not same or wanted.num_dropped != found.num_dropped:
        said = (
            f"{len(found.scores)} candidates ({found.num_dropped} dropped) against {len(wanted.scores)} "
            f"({wanted.num_dropped} dropped), or of other cells or classes"
        )
        return StageResult("decode", False, text, said)
    boxes = compare_arrays(wanted.boxes, found.boxes, KERNELS.boxes_px, 1e-6)
    scores = compare_arrays(wanted.scores, found.scores, KERNELS.scores)
    agrees = boxes.num_beyond == scores.num_beyond == 0
    detail = f"boxes: {counted(boxes, 'px')}; scores: {counted(scores, '')}"
    return StageResult("decode", agrees, text, detail, {"boxes": boxes.numbers(), "scores": scores.numbers()})


def _compare_masks(wanted: Detections, found: Detections) -> StageResult:
    if wanted.masks is None or found.masks is None:
        return StageResult("masks", None if (wanted.masks is None) == (found.masks is None) else False, "-")
    if len(wanted) != len(found):
        return StageResult("masks", None, "-", f"{len(found)} detections against {len(wanted)}")
    apart, areas = mask_differences(wanted, found)
    beyond = int((apart > KERNELS.masks_share * areas + SPARE_MASK_PIXELS).sum())
    said = (
        f"{int(apart.sum())} of {int(areas.sum()):,} pixels differ, {beyond} of {len(areas)} masks beyond the tolerance"
    )
    return StageResult("masks", beyond == 0, f"{int(apart.sum())} pixels", said, {"pixels": apart.tolist()})


def _compare_keypoints(wanted: Detections, found: Detections) -> StageResult:
    if wanted.keypoints is None or found.keypoints is None:
        return StageResult("keypoints", None if (wanted.keypoints is None) == (found.keypoints is None) else False, "-")
    if wanted.keypoints.shape != found.keypoints.shape:
        return StageResult("keypoints", None, "-", f"{found.keypoints.shape} against {wanted.keypoints.shape}")
    compared = compare_arrays(wanted.keypoints, found.keypoints, KERNELS.boxes_px, 1e-6)
    said = counted(compared, "px")
    return StageResult("keypoints", compared.num_beyond == 0, f"{compared.largest:.2g} px", said, compared.numbers())
