"""Specification of the assignment."""

from __future__ import annotations

import numpy as np


def assign(costs: np.ndarray, max_cost: float) -> np.ndarray:
    """Solve the gated assignment by successive shortest augmenting paths over the full matrix, in O(N * M * N).

    Rows are added in ascending order. A row's path goes on from the nearest column: among equally near ones a free one
    before an assigned one, then the lowest. It ends at a free column, or at a row that is better left unmatched (the
    new row itself or, if that is strictly cheaper, one that it displaces), whichever is nearer, the free column at a
    tie.

    Args:
        costs: (N, M) of any float; infinite, NaN or more than `max_cost` means that the pair must not be made.
        max_cost: Cost of leaving a row unmatched.

    Returns:
        (K, 2) int64 row, column, rows ascending.
    """
    n, m = costs.shape
    costs = costs.astype(np.float64)
    costs = np.where(np.isfinite(costs) & (costs <= max_cost), costs, np.inf)
    row_of, col_of = np.full(m, -1), np.full(n, -1)
    u, v = np.zeros(n), np.zeros(m)
    for new_row in range(n):
        distance, parent, scanned = np.full(m, np.inf), np.full(m, -1), np.zeros(m, bool)
        row: int = new_row
        low, sink = 0.0, -1
        end, end_row = np.inf, new_row
        while True:
            through = np.where(scanned, np.inf, low + (costs[row] - v - u[row]))
            nearer = through < distance
            distance[nearer], parent[nearer] = through[nearer], row
            stay = low + (max_cost - u[row])
            if stay < end:
                end, end_row = stay, row
            unscanned = np.where(scanned, np.inf, distance)
            nearest = unscanned.min(initial=np.inf)
            candidates = np.flatnonzero((unscanned == nearest) & np.isfinite(unscanned))
            free = [j for j in candidates if row_of[j] < 0]
            if free and nearest <= end:
                sink, end = int(free[0]), nearest
                break
            if not nearest < end:
                break
            scanned[candidates[0]] = True
            low, row = nearest, int(row_of[candidates[0]])
        for j in np.flatnonzero(scanned):
            u[row_of[j]] += end - distance[j]
            v[j] -= end - distance[j]
        u[new_row] = end
        if sink < 0 and end_row != new_row:
            sink, col_of[end_row] = col_of[end_row], -1
        while sink >= 0:
            row = int(parent[sink])
            row_of[sink] = row
            sink, col_of[row] = col_of[row], sink
    rows = np.flatnonzero(col_of >= 0)
    return np.stack([rows, col_of[rows]], 1).astype(np.int64)
