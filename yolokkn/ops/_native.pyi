from collections.abc import Sequence
from typing import Any

import numpy as np

from yolokkn.geometry import Letterbox
from yolokkn.types import Masks

def letterbox(
    image: np.ndarray,
    geometry: Letterbox,
    swap_rb: bool,
    scale: Sequence[float],
    offset: Sequence[float],
    pad_value: int,
    out: np.ndarray | None,
    keep_padding: bool,
) -> np.ndarray: ...

_Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]

def decode_channels(
    output: np.ndarray,
    num_classes: int,
    score_threshold: float,
    multi_label: bool,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def decode_final(
    boxes: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    count: int | None,
    num_classes: int | None,
    score_threshold: float,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def decode_distances(
    levels: Sequence[np.ndarray],
    num_classes: int,
    input_hw: tuple[int, int],
    num_bins: int,
    score_threshold: float,
    multi_label: bool,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def decode_heads(
    heads: Sequence[np.ndarray],
    num_classes: int,
    anchors: Sequence[np.ndarray],
    input_hw: tuple[int, int],
    formula: str,
    scale_xy: Sequence[float] | float,
    objectness_times_class: bool,
    score_threshold: float,
    multi_label: bool,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def decode_keypoints(extras: np.ndarray, num_keypoints: int, geometry: Letterbox, clip: bool) -> np.ndarray: ...
def decode_queries(
    boxes: np.ndarray,
    logits: np.ndarray,
    num_classes: int | None,
    input_hw: tuple[int, int],
    top_k: int,
    score_threshold: float,
    multi_label: bool,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def decode_rows(
    output: np.ndarray,
    num_classes: int,
    objectness: bool,
    box_format: str,
    strides: Sequence[int],
    input_hw: tuple[int, int] | None,
    score_threshold: float,
    multi_label: bool,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def decode_table(
    output: np.ndarray,
    num_classes: int | None,
    score_threshold: float,
    max_candidates: int,
    class_mask: np.ndarray | None,
) -> _Found: ...
def gather_extras(
    output: np.ndarray, anchor_index: np.ndarray, first: int, count: int, channel_major: bool
) -> np.ndarray: ...
def instruction_set() -> str: ...
def inverse_letterbox(boxes: np.ndarray, geometry: Letterbox, clip: bool) -> np.ndarray: ...
def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray | None,
    iou_threshold: float,
    max_detections: int,
) -> np.ndarray: ...
def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray: ...
def assemble_masks(
    coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox
) -> tuple[np.ndarray, np.ndarray]: ...
def unpack_masks(bits: np.ndarray, starts: np.ndarray, crops: np.ndarray) -> np.ndarray: ...
def encode_rle(data: np.ndarray, crops: np.ndarray, frame_hw: tuple[int, int]) -> list[dict[str, Any]]: ...
def decode_rle(counts: list[bytes | np.ndarray], frame_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]: ...
def paint_masks(data: np.ndarray, crops: np.ndarray, frame_hw: tuple[int, int], out: np.ndarray) -> None: ...
def mask_polygons(data: np.ndarray, crops: np.ndarray, frame_hw: tuple[int, int]) -> list[list[np.ndarray]]: ...
def assign(costs: np.ndarray, max_cost: float) -> np.ndarray: ...
def parse_mot(content: bytes) -> np.ndarray | None: ...
def assign_pairs(rows: np.ndarray, columns: np.ndarray, costs: np.ndarray, max_cost: float) -> np.ndarray: ...

class Tracker:
    def update(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray,
        timestamp_s: float | None = None,
        camera: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
        with_classes: bool = False,
        masks: Masks | None = None,
    ) -> Any: ...
    def reset(self, keep_ids: bool = False) -> None: ...
    def tracks(self) -> tuple[np.ndarray, ...]: ...
    def predict(self, timestamp_s: float | None = ...) -> tuple[np.ndarray, ...]: ...
    def save(self) -> bytes: ...
    def load(self, state: bytes) -> None: ...

def make_tracker(name: str, /, frame_rate: float, class_policy: str, **settings: float) -> Tracker: ...
