"""Every name of TensorRT that the code uses exists in the real bindings of TensorRT 10 and 11 and of TensorRT-RTX.

The bindings' wheels hold no library. They are imported with stubs in its place, which is enough to ask them for their names.
Put them beside one another with: pip install --no-deps --target build/tensorrt-11 tensorrt-cu13-bindings
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "yolokkn" / "runtime"
BINDINGS = Path(os.environ.get("YOLOKKN_TENSORRT_BINDINGS", ROOT / "build"))

# file -> what its variables (the last word of what a name is looked up on) are in TensorRT
VARIABLES = {
    "engine_library.py": {"trt": ""},
    "engine_build.py": {
        "trt": "", "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser", "error": "ParserError",
        "config": "IBuilderConfig", "profile": "IOptimizationProfile", "cache": "ITimingCache", "kinds": "ErrorCode",
    },
    "backends/tensorrt.py": {
        "trt": "", "runtime": "Runtime", "_runtime": "Runtime", "engine": "ICudaEngine", "_engine": "ICudaEngine",
    },
    "backends/tensorrt_kernels.py": {
        "trt": "", "engine": "ICudaEngine",
        "config": "IRuntimeConfig", "kernels": "IRuntimeCache", "_compiled": "IRuntimeCache",
        "strategies": "DynamicShapesKernelSpecializationStrategy",
    },
    "backends/tensorrt_lane.py": {
        "trt": "", "engine": "ICudaEngine", "_engine": "ICudaEngine", "context": "IExecutionContext",
        "_context": "IExecutionContext",
    },
}  # fmt: skip
NOT_TENSORRT = {  # the same words for other things
    "engine_build.py": {"engine.manifest"},
    "backends/tensorrt.py": {"engine.manifest", "engine.plan"},
}
RTX_ALONE = {
    "ComputeCapability.__members__", "IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability",
    "IRuntimeConfig.create_runtime_cache", "IRuntimeConfig.set_runtime_cache", "IRuntimeCache.deserialize",
    "IRuntimeCache.serialize",
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy", "DynamicShapesKernelSpecializationStrategy.EAGER",
}  # fmt: skip


def used_names(source: str, variables: dict[str, str], skipped: set[str]) -> set[str]:
    """Return what a source looks up on TensorRT's objects, as "Class.name"."""
    found = set()

    def kind_of(node: ast.expr) -> str | None:
        """The class that an expression is, "" for the module itself; None: nothing of TensorRT."""
        if isinstance(node, ast.Name):
            return variables.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = kind_of(node.value)
            if owner == "":
                return node.attr
            return variables.get(node.attr) if owner is None else f"{owner}.{node.attr}"
        return None

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and f"{ast.unparse(node.value).split('.')[-1]}.{node.attr}" not in skipped:
            owner = kind_of(node.value)
            if owner is not None and owner.count(".") == 0:
                found.add(f"{owner}.{node.attr}" if owner else f"{node.attr}.")
    return found


@pytest.fixture(scope="module")
def used():
    found = set()
    for file, variables in VARIABLES.items():
        found |= used_names((PACKAGE / file).read_text("utf-8"), variables, NOT_TENSORRT.get(file, set()))
    return found


def missing(used: set[str], names: dict[str, list[str]]) -> set[str]:
    """Return what of it a module does not offer."""
    return {
        name
        for name in used
        if name.split(".")[0] not in names
        or (name.split(".")[1] and name.split(".")[1] not in names[name.split(".")[0]])
    }


def ask(module: str, *path: str, **environment: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.runtime.bindings_names", module, *path],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_the_names_are_found_in_the_source(used):
    assert len(used) > 45  # else nothing is checked
    assert {
        "Builder.build_serialized_network", "OnnxParser.parse", "ParserError.node_operator", "IExecutionContext.infer_shapes",
        "Runtime.engine_host_code_allowed", "IExecutionContext.execute_async_v3", "BuilderFlag.TF32", "ILogger.ERROR",
        "ICudaEngine.get_tensor_profile_shape", "IProgressMonitor.", "IOptimizationProfile.set_shape", "nptype.",
        "IBuilderConfig.set_timing_cache", "ITimingCache.serialize", "TensorIOMode.INPUT", "ErrorCode.UNSUPPORTED_NODE",
    } <= used  # fmt: skip


def test_a_name_that_does_not_exist_is_found():
    source = (
        "def f(builder, library):\n    builder.build_cuda_engine(library.trt.BuilderFlag.FP16)\n    library.title\n"
    )
    found = used_names(source, VARIABLES["engine_build.py"], set())
    assert found == {"Builder.build_cuda_engine", "BuilderFlag.FP16", "BuilderFlag."}
    assert missing(found, {"Builder": ["reset"], "BuilderFlag": ["TF32"]}) == {
        "Builder.build_cuda_engine",
        "BuilderFlag.FP16",
    }


def test_tensorrt_rtx_has_them_all(used):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    assert not missing(used, ask("tensorrt_rtx")["names"])


@pytest.mark.parametrize("major", [10, 11])
def test_tensorrt_has_them_but_for_what_rtx_alone_has(used, major, tmp_path):
    site = find_bindings(major)
    stubs = make_stubs(site / "tensorrt_bindings" / "tensorrt.so", tmp_path)
    said = ask("tensorrt_bindings", str(site), LD_LIBRARY_PATH=str(stubs))
    assert said["version"].startswith(f"{major}.")
    assert missing(used, said["names"]) - {f"{name.split('.')[0]}." for name in RTX_ALONE} == RTX_ALONE


def find_bindings(major: int) -> Path:
    found = sorted(BINDINGS.glob(f"tensorrt-{major}/tensorrt_bindings/tensorrt.so"))
    if not found:
        pytest.skip(f"the bindings of TensorRT {major} are not at {BINDINGS}/tensorrt-{major}")
    if not (shutil.which("cc") and shutil.which("nm") and shutil.which("readelf")):
        pytest.skip("needs cc, nm and readelf to make the stubs")
    return found[0].parents[1]


def make_stubs(bindings: Path, folder: Path) -> Path:
    """Make libraries that define what the bindings want, each function giving nothing."""

    def output(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    libraries = re.findall(r"NEEDED.*\[(libnv[^\]]+)\]", output("readelf", "-d", str(bindings)))
    symbols = output("nm", "-D", "--undefined-only", str(bindings)).split("\n")
    wanted = [m[1] for line in symbols if (m := re.fullmatch(r"\s*U ((?:create|get|init)[A-Z]\w*)", line))]
    assert libraries and wanted
    source = folder / "stubs.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in wanted))
    for library in libraries:
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(folder / library), str(source)], check=True
        )
    return folder
