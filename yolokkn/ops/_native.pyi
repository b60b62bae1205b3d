from collections.abc import Sequence

import numpy as np

from yolokkn.geometry import Letterbox

def instruction_set() -> str: ...
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
def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray: ...
