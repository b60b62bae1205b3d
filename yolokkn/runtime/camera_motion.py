"""How the camera moved the picture since the frame before, measured on the pictures themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.errors import did_you_mean

METHODS = ("sparseOptFlow", "orb", "ecc")
_LEAST_POINTS = 8
_LEAST_SIDE_PX = 32
_LEAST_SHARE = 0.3  # of the points that must agree with the motion
_MOST_SCALE = 1.5  # between two frames


class CameraMotionEstimator:
    """Measures a shift, turn and zoom from frame to frame on what does not move by itself.

    Args:
        method: "sparseOptFlow": corners followed by the pyramid of Lucas and Kanade (Bouguet, 2001); "orb": matched ORB
            features (Rublee et al., 2011); both with a robust similarity transform (RANSAC). "ecc": the shift and turn that
            maximise the pictures' correlation (Evangelidis and Psarakis, 2008); slow.
        downscale: The pictures are made smaller by this factor first.

    Example:
        >>> camera = CameraMotionEstimator()
        >>> matrix = camera.update(frame.image, detections.boxes)  # doctest: +SKIP
        >>> tracker.update(boxes, scores, class_ids, camera=matrix)  # doctest: +SKIP
    """

    def __init__(self, method: str = "sparseOptFlow", *, downscale: float = 2.0) -> None:
        if method not in METHODS:
            raise ValueError(
                f"CameraMotionEstimator: method must be one of {', '.join(METHODS)}, got {method!r}"
                f"{did_you_mean(str(method), METHODS)}"
            )
        if not 1.0 <= downscale <= 64.0:
            raise ValueError(f"CameraMotionEstimator: downscale must be within 1 and 64, got {downscale}")
        self.method, self.downscale = method, float(downscale)
        self.reset()

    @classmethod
    def for_tracker(cls, tracker: str, method: str) -> CameraMotionEstimator | None:
        """Return what a tracker wants by default ("auto": BoT-SORT the optical flow, others nothing), or was asked for.

        Raises:
            ValueError: There is no such method.
        """
        if method == "none" or (method == "auto" and tracker != "botsort"):
            return None
        return cls(METHODS[0] if method == "auto" else method)

    def reset(self) -> None:
        """Forget the frame before."""
        self._before: np.ndarray | None = None
        self._points: Any = None

    def update(self, image: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
        """Take the next frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            boxes: (N, 4) xyxy of things that may move by themselves: points in them do not count.

        Returns:
            (2, 3) float64: a point (x, y) of the frame before lies at matrix @ (x, y, 1) in this one. No motion where there
            is no frame before, where its size differs, or where nothing can be made out.
        """
        grey = self._small(image)
        still = np.eye(2, 3)
        if min(grey.shape) < _LEAST_SIDE_PX:
            self.reset()
            return still
        before, points = self._before, self._points
        self._before, self._points = grey, self._find_points(grey, boxes)
        if before is None or before.shape != grey.shape:
            return still
        matrix = self._follow(before, points, grey)
        if matrix is None or not np.isfinite(matrix).all():
            return still
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        if not 1 / _MOST_SCALE <= scale <= _MOST_SCALE:
            return still
        sizes = np.array([image.shape[1] / grey.shape[1], image.shape[0] / grey.shape[0]])
        half = (sizes - 1) / 2  # centres of pixels: x = sizes * small + half
        linear = matrix[:, :2] * sizes[:, None] / sizes[None]
        shift = sizes * matrix[:, 2] + half - linear @ half
        return np.ascontiguousarray(np.concatenate([linear, shift[:, None]], 1))

    def _small(self, image: np.ndarray) -> np.ndarray:
        import cv2

        height, width = image.shape[:2]
        size = (max(round(width / self.downscale), 1), max(round(height / self.downscale), 1))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if size != (width, height) else image
        return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)

    def _find_points(self, grey: np.ndarray, boxes: np.ndarray | None) -> Any:
        import cv2

        if self.method == "ecc":
            return None
        mask = np.full(grey.shape, 255, np.uint8)
        for x1, y1, x2, y2 in np.empty((0, 4)) if boxes is None else np.asarray(boxes, np.float64) / self.downscale:
            if np.isfinite([x1, y1, x2, y2]).all():
                left, top, right, bottom = (int(np.clip(v, -1, 1e6)) for v in (x1, y1, x2 + 1, y2 + 1))
                mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 0
        if self.method == "orb":
            return cv2.ORB.create(1000).detectAndCompute(grey, mask)
        return cv2.goodFeaturesToTrack(grey, 400, 0.01, 6, mask=mask)

    def _follow(self, before: np.ndarray, points: Any, grey: np.ndarray) -> np.ndarray | None:
        import cv2

        if self.method == "ecc":
            return _correlate(before, grey)
        if self.method == "orb":
            pairs = _match_features(points, self._points)
        else:
            if points is None:
                return None
            after, found, _ = cv2.calcOpticalFlowPyrLK(before, grey, points, None)
            kept = found.ravel() == 1
            pairs = points.reshape(-1, 2)[kept], after.reshape(-1, 2)[kept]
        if len(pairs[0]) < _LEAST_POINTS:
            return None
        matrix, inliers = cv2.estimateAffinePartial2D(*pairs, method=cv2.RANSAC, ransacReprojThreshold=2.0)
        if matrix is None or inliers.sum() < max(_LEAST_POINTS, _LEAST_SHARE * len(inliers)):
            return None
        return matrix


def _match_features(before: Any, after: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of features that match both ways, clearly better than the next best."""
    import cv2

    none: np.ndarray = np.empty((0, 2), np.float32)
    if any(descriptors is None or len(descriptors) < 2 for _, descriptors in (before, after)):
        return none, none
    found = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(before[1], after[1], k=2)
    good = [pair[0] for pair in found if len(pair) == 2 and pair[0].distance < 0.8 * pair[1].distance]
    pairs = [(before[0][m.queryIdx].pt, after[0][m.trainIdx].pt) for m in good]
    return (
        (np.array([p for p, _ in pairs], np.float32), np.array([q for _, q in pairs], np.float32))
        if pairs
        else (none, none)
    )


def _correlate(before: np.ndarray, grey: np.ndarray) -> np.ndarray | None:
    import cv2

    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-5)
    try:
        _, matrix = cv2.findTransformECC(before, grey, np.eye(2, 3, dtype=np.float32), cv2.MOTION_EUCLIDEAN, criteria)
    except cv2.error:  # it does not converge: the pictures have nothing in common
        return None
    return matrix.astype(np.float64)
