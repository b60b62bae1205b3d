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
from yolokkn.ops import reference as slow
from yolokkn.runtime.agreement import LOWER, Agreement, agree
from yolokkn.runtime.differences import compare_arrays, compare_detections
from yolokkn.runtime.model import Model, as_float, check_image
from yolokkn.runtime.parity_kernels import compare_candidates, compare_keypoints, compare_masks
from yolokkn.runtime.parity_network import NetworkRun, compare_networks
from yolokkn.runtime.parity_report import STAGES, ColumnResult, PictureParity, StageResult, counted, matched, sizes
from yolokkn.runtime.postprocess import postprocess, select
from yolokkn.runtime.tolerances import KERNELS, SPARE_SCORE, TOLERANCES, Tolerance
from yolokkn.types import Detections

_THRESHOLDS = (0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
_DOUBTFUL = 4  # scores below this part of the tolerance of scores are noise themselves
_ENOUGH = 3  # detections that make a comparison worth something

Outputs = dict[str, np.ndarray]
_FAILURES = (YolokknError, RuntimeError, ValueError, TypeError, IndexError, KeyError)


def compare_models(
    models: Mapping[str, Model],
    reference: Model,
    image: np.ndarray,
    *,
    precision: str = "fp32",
    picture: str = "picture",
    reference_name: str = "reference",
    lower: bool = True,
) -> PictureParity:
    """Compare models with a reference over one picture, stage by stage.

    Args:
        models: By the name of their column: one file on several backends, say.
        reference: Runs the network of the reference; its thresholds hold for all.
        image: (H, W, 3) uint8 BGR.
        precision: "fp32", "fp16", "int8" or "int8-same": whose row of `TOLERANCES` holds for networks and detections.
        picture: The picture's name, for messages.
        reference_name: What the reference is, for messages.
        lower: Where the reference finds fewer than three detections, lower the score threshold until there are some, as far
            as the precision's noise allows.

    Raises:
        TypeError: The image is no uint8 array.
        ValueError: The image has another shape, or there is no such precision.

    Cost:
        One run of each network, and seconds of NumPy for a picture full of masks.
    """
    check_image(image)
    if precision not in TOLERANCES:
        raise ValueError(f"compare_models: precision must be one of {', '.join(TOLERANCES)}, got {precision!r}")
    tolerance, asked = TOLERANCES[precision], reference.options.score_threshold
    truth = _Truth.of(reference, image, tolerance.scores / _DOUBTFUL if lower else 1.0)
    columns = tuple(
        _Column(model.with_options(**_chosen(truth.options)), truth, precision, asked).result(name)
        for name, model in models.items()
    )
    return PictureParity(
        picture, (image.shape[0], image.shape[1]), reference_name, precision, asked, truth.options.score_threshold,
        len(truth.detections), columns,
    )  # fmt: skip


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
    detections: Detections  # above the options' threshold
    with_lower: Detections  # and those of half of it

    @classmethod
    def of(cls, model: Model, image: np.ndarray, least_score: float) -> _Truth:
        layout = replace(model.layout, kernels=slow)
        letterbox = model.letterbox_for((image.shape[0], image.shape[1]))
        rule = layout.preprocess
        blob = slow.letterbox(
            image, letterbox, swap_rb=rule.swap_rb, scale=rule.scale, offset=rule.offset, pad_value=rule.pad_value
        )
        raw = _run(model, blob)
        options, found = model.options, postprocess(layout, raw, 0, letterbox, model.options)
        for threshold in _THRESHOLDS:
            if len(found) >= _ENOUGH or threshold < least_score:
                break
            if threshold < options.score_threshold:
                options = replace(options, score_threshold=threshold)
                found = postprocess(layout, raw, 0, letterbox, options)
        lower = replace(options, score_threshold=options.score_threshold * LOWER)
        with_lower = postprocess(layout, raw, 0, letterbox, lower)
        return cls(image, letterbox, blob, layout, raw, options, found, with_lower)


def _run(model: Model, blob: np.ndarray) -> Outputs:
    """Run a network over one prepared picture, (3, h, w) float32, and return what it gives for that: batches of one."""
    batch: np.ndarray = np.zeros((model.batch, *blob.shape), np.float32)
    batch[0] = blob
    h, w = blob.shape[1:]
    raw = as_float(model.backend.run(model.feeds(batch, (h, w))))
    return {name: value[:1] if value.shape[:1] == (model.batch,) else value for name, value in raw.items()}


def _failed(stage: str, error: Exception) -> StageResult:
    said = str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
    return StageResult(stage, False, "does not run", f"it does not run: {said}")


class _Column:
    """The stages of one model against the reference's."""

    def __init__(self, model: Model, truth: _Truth, precision: str, asked: float) -> None:
        self._model, self._truth, self._asked, self._precision = model, truth, asked, precision
        self._tolerance: Tolerance = TOLERANCES[precision]
        self._raw: Outputs | None = None  # this network's outputs for the reference's picture
        self._are_alike = False  # they have the reference's names and shapes
        self._agreement: Agreement | None = None  # from the score on that was asked for

    def result(self, name: str) -> ColumnResult:
        """Return every stage's result, in their order."""
        first = [self._preprocess(), self._network()]
        stages = (*first, *self._postprocessing(), self._detections())
        return ColumnResult(name, stages, self._agreement)

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
            found, wanted = NetworkRun(model.layout, self._raw), NetworkRun(truth.layout, truth.raw)
            self._are_alike = found.shapes == wanted.shapes
            return compare_networks(wanted, found, truth.options, truth.letterbox.input_hw, self._tolerance)
        except _FAILURES as error:
            return _failed("network", error)

    def _postprocessing(self) -> list[StageResult]:
        """Decode, suppress and finish the reference's raw outputs (or this network's, where it has others)."""
        raw = self._truth.raw if self._are_alike else self._raw
        unknown = [StageResult(stage, None, "-") for stage in STAGES[2:6]]
        if raw is None:
            return unknown
        try:
            return self._postprocess(raw)
        except _FAILURES as error:
            return [_failed("decode", error), *unknown[1:]]

    def _postprocess(self, raw: Outputs) -> list[StageResult]:
        truth, layout = self._truth, self._model.layout
        twin = truth.layout if self._are_alike else replace(layout, kernels=slow)
        hw, options = truth.letterbox.input_hw, truth.options
        wanted = twin.decode(raw, 0, hw, options)
        results = [compare_candidates(wanted, layout.decode(raw, 0, hw, options))]
        kept, mine = select(twin, wanted, options), select(layout, wanted, options)
        same = kept.tolist() == mine.tolist()
        said = f"{len(mine)} kept" + ("" if same else f" against {len(kept)}, or in another order")
        results.append(StageResult("nms", same, said, said, {"reference": kept.tolist(), "found": mine.tolist()}))
        finished = [postprocess(one, raw, 0, truth.letterbox, options) for one in (twin, layout)]
        return [*results, compare_masks(*finished), compare_keypoints(*finished)]

    def _detections(self) -> StageResult:
        truth, model, options = self._truth, self._model, self._truth.options
        lower = model.with_options(score_threshold=options.score_threshold * LOWER)
        try:
            with_lower = lower.workspace().process(truth.image)
        except _FAILURES as error:
            return _failed("detections", error)
        found = with_lower[np.flatnonzero(with_lower.scores > options.score_threshold)]
        compared = compare_detections(
            truth.detections,
            found,
            self._tolerance,
            gain=min(truth.letterbox.gain_xy),
            score_threshold=options.score_threshold,
            iou_threshold=options.iou_threshold if truth.layout.needs_nms else 1.0,
            max_detections=options.max_detections,
        )
        gap = self._tolerance.scores
        self._agreement = agree(truth.with_lower, with_lower, self._asked, gap)
        here = agree(truth.with_lower, with_lower, options.score_threshold, gap)
        is_enough = here.is_enough(self._tolerance.unshared, SPARE_SCORE)
        text = f"{compared.num_matched} of {compared.num_reference}, {compared.box_px:.2g} px, {compared.score:.2g}"
        detail = matched(compared)
        if not is_enough:
            least = 1 - self._tolerance.unshared
            detail += f"; {here.share:.0%} of the scores are shared, {least:.0%} at least are wanted"
        numbers = compared.numbers() | {"agreement": here.numbers()}
        agrees: bool | None = compared.is_noise and is_enough
        if agrees and self._precision == "int8" and 2 * compared.num_matched < compared.num_reference:
            agrees = None  # excused by their scores, which lie near the threshold: of so many that says nothing
        return StageResult("detections", agrees, text, detail, numbers)
