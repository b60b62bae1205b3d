#!/usr/bin/env bash
# One command for a machine with an NVIDIA GPU: builds the CUDA kernels for it, runs the GPU tests (a missing GPU is a failure), measures,
# looks for bad accesses and races with compute-sanitizer. What is not here is left out and listed. All of it within 480 s.
#
#   benchmarks/gpu_check.sh                          results in build/gpu-check (or the folder that $OUT names)
#   YOLOKKN_GPU_CHECK=emulated benchmarks/gpu_check.sh   the kernels' tests and the benchmark's on the emulator: no GPU, no figures
#
# Wants what a CUDA image with PyTorch has: nvcc, python3 with its headers, numpy, torch, pybind11, CMake, ninja, cuda-bindings,
# onnxruntime, opencv, pytest, hypothesis. PYTHON names another python3, GPU_CHECK_SECONDS another limit. Exit status: 0 passed, 1 not.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-build/gpu-check}
mode=${YOLOKKN_GPU_CHECK:-gpu}
limit=${GPU_CHECK_SECONDS:-480}
case $mode in gpu | emulated) ;; *)
  echo "gpu_check.sh: YOLOKKN_GPU_CHECK must be gpu or emulated, got '$mode'" >&2
  exit 2
  ;;
esac
mkdir -p "$out"
failed=() left_out=()
step() { printf '\n=== %s (%s of %s s)\n' "$*" "$SECONDS" "$limit"; }
skip() { left_out+=("$*"); echo "left out: $*"; }
try() { # NAME SECONDS COMMAND...: runs it within its own limit and the whole's, keeps its output, remembers how it ended
  local name=$1 seconds=$2 left=$((limit - SECONDS - 5)) status
  shift 2
  if [ "$left" -lt 10 ]; then
    skip "$name: no time left"
    return 1
  fi
  [ "$seconds" -lt "$left" ] || seconds=$left
  timeout --kill-after=5 "$seconds" "$@" 2>&1 | tee "$out/$name.log"
  status=${PIPESTATUS[0]}
  while read -r line; do left_out+=("$name: $line"); done < <(grep -E '^SKIPPED' "$out/$name.log")
  case $status in
    0) ;;
    124 | 137) failed+=("$name: timed out after $seconds s") ;;
    *) failed+=("$name: exit status $status") ;;
  esac
  return "$status"
}
finish() {
  step "done"
  [ ${#left_out[@]} -eq 0 ] || printf 'left out: %s\n' "${left_out[@]}"
  if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
  fi
  echo "all that was run passed; results in $out"
  exit 0
}
pytest() { # NAME SECONDS ARGUMENTS...
  local name=$1 seconds=$2
  shift 2
  try "$name" "$seconds" "$python" -m pytest -q --tb=short -rs -p no:cacheprovider "$@"
}

step "what is here"
"$python" - <<'PY'
import importlib.metadata as facts
import sys

print("python", sys.version.split()[0])
for name in ("numpy", "torch", "torchvision", "onnxruntime", "opencv-python-headless", "pybind11", "cuda-bindings", "pytest",
             "hypothesis", "cupy-cuda13x", "cupy-cuda12x", "pycuda", "tensorrt", "tensorrt-rtx", "safetensors", "PyYAML", "av"):
    try:
        print(f"{name} {facts.version(name)}")
    except facts.PackageNotFoundError:
        print(f"{name} is MISSING")
PY
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
[ -f "$headers/Python.h" ] || failed+=("build: no Python.h in $headers; install python3-dev")
"$python" -c 'import pytest, pybind11, numpy' || failed+=("build: pytest, pybind11 and numpy must be installed")
export PYTHONUNBUFFERED=1

if [ "$mode" = emulated ]; then
  [ ${#failed[@]} -eq 0 ] || finish
  echo "on the emulator: nothing here is measured, and nothing is said of a GPU"
  step "build"
  if ! "$python" -c "from yolokkn.ops import _native" 2>/dev/null; then
    YOLOKKN_CUDA=off try build 200 "$python" setup.py -q build_ext --inplace || finish
  fi
  step "tests of the kernels, emulated"
  YOLOKKN_TEST_SCALE=${YOLOKKN_TEST_SCALE:-0.04} pytest kernels 200 --maxfail=25 tests/gpu/test_decoders.py tests/gpu/test_selection.py -k emulated
  step "the benchmark, emulated"
  pytest bench 200 tests/gpu/test_bench_gpu.py
  for part in memcheck racecheck synccheck engines; do skip "$part: wants a GPU"; done
  finish
fi

if ! nvidia-smi --query-gpu=name,driver_version,compute_cap,memory.total,clocks.max.sm --format=csv 2>&1 | tee "$out/gpu.txt"; then
  # a Jetson's has no such query: what counts is whether CUDA counts a GPU, which the tests ask
  [ -e /dev/nvhost-gpu ] || [ -e /dev/nvgpu ] || [ -e /dev/nvidia0 ] || failed+=("no NVIDIA GPU here: nvidia-smi finds none; nothing was run")
fi
if nvcc=$(command -v nvcc || PATH=$PATH:/usr/local/cuda/bin command -v nvcc); then
  "$nvcc" --version | tail -n 2
else
  failed+=("build: no nvcc in PATH or /usr/local/cuda/bin")
fi
[ ${#failed[@]} -eq 0 ] || finish

step "build for this GPU"
# a Jetson's nvidia-smi prints a sentence or [N/A]
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '.' | grep -E '^[0-9]+$')
export CMAKE_ARGS="${CMAKE_ARGS:-} -DCMAKE_CUDA_ARCHITECTURES=${capability:-native}"
YOLOKKN_CUDA=on try build 180 "$python" setup.py -q build_ext --inplace || finish

step "tests of the kernels and of whole frames: equal to the CPU"
export YOLOKKN_REQUIRE_CUDA=1
pytest kernels 100 --maxfail=25 tests/gpu/test_decoders.py tests/gpu/test_selection.py tests/gpu/test_frames.py \
  tests/gpu/test_run_lengths.py tests/gpu/test_neighbours.py \
  -k "not emulated and not real_networks and not tensorrt_backend"

step "measurements"
try bench 150 "$python" benchmarks/bench_gpu.py --json "$out/gpu.json"

nodes=(
  "tests/gpu/test_decoders.py::test_float16_outputs_are_widened[cuda]"
  "tests/gpu/test_decoders.py::test_heads[cuda-v5]"
  "tests/gpu/test_decoders.py::test_queries[cuda]"
  "tests/gpu/test_selection.py::TestNms::test_equals_the_cpu[cuda-40-1025]"
  "tests/gpu/test_selection.py::TestNms::test_many_candidates_of_hard_scores[cuda-equal]"
  "tests/gpu/test_selection.py::TestLetterbox::test_nv12_is_resized_like_its_bgr[cuda]"
  "tests/gpu/test_selection.py::TestMasks::test_flat_masks_whose_rows_leave_warps_idle[cuda]"
  "tests/gpu/test_selection.py::TestMasks::test_values_that_are_not_finite[cuda]"
  "tests/gpu/test_run_lengths.py::test_equals_the_cpu[cuda-frame_hw3]"
  "tests/gpu/test_frames.py::test_every_layout_equals_the_cpu_frame_after_frame[cuda-v8-seg-pose]"
  "tests/gpu/test_frames.py::test_every_layout_equals_the_cpu_frame_after_frame[cuda-kkn-raw]"
)
sanitizer=$(command -v compute-sanitizer || PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer)
for tool in memcheck racecheck synccheck; do
  step "$tool"
  if [ -z "$sanitizer" ]; then
    skip "$tool: no compute-sanitizer"
  elif ! timeout 30 "$sanitizer" --error-exitcode 9 "$python" -c \
    "from yolokkn.runtime.cuda_device import DeviceBuffer; DeviceBuffer(4)" >"$out/sanitizer-probe.log" 2>&1; then
    skip "$tool: compute-sanitizer does not run here: $(grep -v '^$' "$out/sanitizer-probe.log" | tail -n 1)"
    sanitizer=
  else
    YOLOKKN_TEST_SCALE=0.04 try "$tool" 50 "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 5 \
      "$python" -m pytest -q --tb=short -rs -p no:cacheprovider "${nodes[@]}"
  fi
done

step "tests of the engines"
if "$python" -c "import tensorrt" 2>/dev/null || "$python" -c "import tensorrt_rtx" 2>/dev/null; then
  pytest engines 100 tests/gpu/test_tensorrt.py tests/gpu/test_doctor.py
else
  skip "engines: no TensorRT"
fi
finish
