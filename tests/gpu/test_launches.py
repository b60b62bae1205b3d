"""Every CUDA kernel fits on the GPUs it is built for: registers, threads, shared and local memory, by the compiler's word.

The block sizes are those of the sources: the emulator tells what each kernel was launched with.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.cuda_facade import CudaOps
from tests.gpu.launch_limits import (
    MOST_LOCAL,
    ROOT,
    Kernel,
    Launch,
    breaches,
    compile_kernels,
    find_nvcc,
    plain,
    read_kernels,
    read_options,
)  # fmt: skip
from tests.gpu.test_frames import LAYOUTS, RecordedNetwork, process
from tests.ops.mask_cases import masks_from_full
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions
from yolokkn.ops.cuda import CudaKernels
from yolokkn.runtime import cuda_device
from yolokkn.runtime.cuda_device import Stream
from yolokkn.runtime.gpu_frame import GpuFrame

FRAMES = ("v8-seg", "kkn-raw")
needs_nvcc = pytest.mark.skipif(find_nvcc() is None, reason="no nvcc, which says what the kernels ask for")


def launch_everything(ops: CudaOps) -> None:
    """Each kernel once, by the doors that the package has."""
    small = Letterbox.fit((20, 30), (32, 32))
    for frame in (np.zeros((20, 30, 3), np.uint8), (np.zeros((20, 30), np.uint8), np.zeros((10, 30), np.uint8))):
        for dtype in (np.float16, np.float32):
            ops.letterbox(frame, small, dtype=dtype)
    ops.decode_rows(np.zeros((4, 7), np.float32), 2, objectness=True)
    ops.decode_heads([np.zeros((21, 2, 2), np.float32)], 2, anchors=[np.ones((3, 2), np.float32)], input_hw=(32, 32))
    ops.decode_queries(np.zeros((4, 4), np.float32), np.zeros((4, 2), np.float32), 2, input_hw=(32, 32))
    ops.decode_table(np.zeros((4, 6), np.float32), 2)
    ops.nms(np.zeros((4, 4), np.float32), np.zeros(4, np.float32))
    ops.inverse_letterbox(np.zeros((4, 4), np.float32), small)
    ops.encode_rle(masks_from_full(np.ones((1, 20, 30), bool)))
    for name in FRAMES:
        layout, make = LAYOUTS[name]
        network, place = RecordedNetwork(make(np.random.default_rng(0))), Letterbox.fit((60, 80), (128, 160))
        frame = GpuFrame(network, ops.kernels, layout, DecodeOptions(), place, Stream())
        process(frame, np.zeros((60, 80, 3), np.uint8))


@pytest.fixture
def launches(emulated_runtime, monkeypatch):
    monkeypatch.setattr(cuda_device, "_runtime", lambda: emulated_runtime)
    launch_everything(CudaOps(CudaKernels(emulated_runtime)))
    return [Launch(plain(name), *sizes) for name, *sizes in emulated_runtime.launched() if name != "nothing"]


@needs_nvcc
def test_every_kernel_fits_on_every_gpu(launches, emulated_runtime):
    kernels = compile_kernels(sorted((ROOT / "csrc" / "cuda").glob("*.cu")), emulated_runtime.demangle)
    architectures, _ = read_options()
    assert {"75", "90", "120"} <= set(architectures)
    assert {kernel.architecture for kernel in kernels} == {f"sm_{number}" for number in architectures}
    assert len(kernels) >= 10 * len(architectures)
    launched = [kernel for kernel in kernels if kernel.name != "probe_kernel()"]  # asked for, never launched
    assert len(launched) == len(kernels) - len(architectures)
    assert breaches(launched, launches) == []


PLANTED = """
__global__ void unbounded(float* out, int size) { out[threadIdx.x] = size; }
__global__ void __launch_bounds__(64) narrow(float* out, long size) { out[threadIdx.x] = size; }
__global__ void __launch_bounds__(64) local(float* out, short size) {
  float kept[100];
  for (int i = 0; i < size; ++i) kept[i] = out[i];
  for (int i = 0; i < size; ++i) out[i] = kept[(int)out[i]];
}
__global__ void __launch_bounds__(64) shares(float* out, char size) {
  __shared__ float all[10000];
  all[threadIdx.x] = size;
  __syncthreads();
  out[threadIdx.x] = all[63 - threadIdx.x];
}
__global__ void __launch_bounds__(64) sound(float* out, double size) { out[threadIdx.x] = size; }
"""


@needs_nvcc
def test_planted_breaches_are_found_in_compiled_kernels(tmp_path: Path, emulated_runtime):
    source = tmp_path / "planted.cu"
    source.write_text(PLANTED)
    kernels = compile_kernels([source], emulated_runtime.demangle)
    newest = [one for one in kernels if one.architecture == "sm_90"]
    assert sorted(one.name.split("(")[0] for one in newest) == ["local", "narrow", "shares", "sound", "unbounded"]
    launches = [Launch(one.parameters, 64, 10000) for one in newest]
    launches = [replace(one, threads=96) if one.parameters == "(float*, long)" else one for one in launches]
    said = sorted(breaches(newest, launches))
    assert len(said) == 4, said
    assert "local(float*, short)" in said[0] and f"400 bytes a thread in device memory, {MOST_LOCAL} are" in said[0]
    assert "narrow(float*, long)" in said[1] and "launched with 96 threads, its bound is 64" in said[1]
    assert "shares(float*, char)" in said[2] and "wants 50000 bytes of shared memory" in said[2]
    assert "unbounded(float*, int)" in said[3] and "has no __launch_bounds__" in said[3]


SOUND = Kernel("walk(Job)", "sm_90", registers=64, local=MOST_LOCAL, static_shared=1024, bound=1024)


@pytest.mark.parametrize(
    ("change", "launch", "words"),
    [
        ({}, Launch("(Job)", 1024, 47 << 10), None),
        ({"registers": 65}, Launch("(Job)", 1024, 0), "wants 73728 registers a block"),
        ({"registers": 65}, Launch("(Job)", 512, 0), None),
        ({"registers": 128}, Launch("(Job)", 513, 0), "wants 69632 registers a block"),  # 17 warps
        ({"bound": 512}, Launch("(Job)", 513, 0), "launched with 513 threads, its bound is 512"),
        ({"bound": None}, Launch("(Job)", 32, 0), "has no __launch_bounds__"),
        ({}, Launch("(Job)", 32, (47 << 10) + 1), "wants 49153 bytes of shared memory"),
        ({"local": MOST_LOCAL + 1}, Launch("(Job)", 32, 0), "keeps 65 bytes a thread in device memory"),
        ({}, Launch("(Other)", 32, 0), "1 kernels for sm_90, of which 0 were launched"),
    ],
)
def test_what_the_checker_says(change, launch, words):
    said = breaches([replace(SOUND, **change)], [launch])
    assert not said if words is None else words in said[0]


def test_kernels_of_the_same_parameters_are_told_apart_by_their_threads():
    wide, narrow = SOUND, replace(SOUND, name="step(Job)", registers=128, bound=256)
    assert not breaches([narrow, wide], [Launch("(Job)", 256, 0), Launch("(Job)", 1024, 0)])
    assert len(breaches([narrow, wide], [Launch("(Job)", 512, 0), Launch("(Job)", 1024, 0)])) == 1


def test_the_compilers_words_are_read():
    text = (
        "bound walk 32 8 1\nptxas info    : Compiling entry function 'walk' for 'sm_75'\n"
        "ptxas info    : Function properties for helper\n    999 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Function properties for walk\n    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
        "ptxas info    : Used 40 registers, used 1 barriers, 8 bytes cumulative stack size, 4096 bytes smem, 408 bytes cmem[0]\n"
    )
    assert read_kernels(
        text, lambda name: f"void yolokkn::cuda::(anonymous namespace)::{name}<A>(yolokkn::cuda::Job)"
    ) == [Kernel("walk<A>(Job)", "sm_75", 40, 16, 4096, 256)]
