import numpy as np
import pytest

from tests.strategies import COUNTS, random_boxes
from yolokkn import ops


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("m", [0, 1, 33])
def test_equals_reference(n, m):
    rng = np.random.default_rng(n * 100 + m)
    a, b = random_boxes(rng, n), random_boxes(rng, m)
    np.testing.assert_array_equal(ops.pairwise_iou(a, b), ops.reference.pairwise_iou(a, b))


def test_hand_computed(op):
    a = np.array([[0, 0, 2, 2], [0, 0, 0, 5], [3, 3, 1, 1]], np.float32)
    b = np.array([[1, 0, 3, 2], [0, 0, 2, 2]], np.float32)
    np.testing.assert_allclose(op.pairwise_iou(a, b), [[1 / 3, 1], [0, 0], [0, 0]], rtol=1e-7)


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ([[0, 0, 1, 1]], TypeError, "pairwise_iou: a must be a NumPy array of float32, got list"),
        (np.zeros((1, 4)), TypeError, r"a must have dtype float32, got float64; convert it with"),
        (np.zeros((1, 5), np.float32), ValueError, r"a must have shape \(\*, 4\), got \(1, 5\)"),
        (np.zeros((2, 8), np.float32)[:, ::2], ValueError, "a must be C-contiguous"),
    ],
)
def test_refuses_what_does_not_fit(bad, error, text):
    with pytest.raises(error, match=text):
        ops.pairwise_iou(bad, np.zeros((1, 4), np.float32))
