"""Measuring that can be believed: cases whose outputs are checked take turns, every sample is kept, runs are compared.

`measure` times `Case`s; `run_cases` notes the machine and the load beside them; `compare_runs` tells two runs apart, or
says that they cannot be. The suites of `yolokkn benchmark` are `kernels`, `trackers`, `backends`, `pipeline`, `startup`.
"""

from __future__ import annotations

from yolokkn.benchmark.case import Case, Timed, Unsuitable, against, differing
from yolokkn.benchmark.compare import CaseChange, Comparison, compare_runs
from yolokkn.benchmark.machine import machine_record, pinned
from yolokkn.benchmark.measure import Plan, measure, run_cases
from yolokkn.benchmark.results import BenchmarkRun, CaseResult, read_run
from yolokkn.benchmark.yardsticks import yardsticks

__all__ = [
    "BenchmarkRun",
    "Case",
    "CaseChange",
    "CaseResult",
    "Comparison",
    "Plan",
    "Timed",
    "Unsuitable",
    "against",
    "compare_runs",
    "differing",
    "machine_record",
    "measure",
    "pinned",
    "read_run",
    "run_cases",
    "yardsticks",
]
