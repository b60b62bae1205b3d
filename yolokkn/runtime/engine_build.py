"""From ONNX bytes to an engine, by TensorRT 10 and 11 and TensorRT-RTX alike. Precisions are in the graph before this sees it."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from yolokkn._version import __version__
from yolokkn.errors import DeviceError, ModelError, printable
from yolokkn.graph import check_limits, parse_model
from yolokkn.runtime.cuda_device import Gpu
from yolokkn.runtime.engine_library import Library, reason_of
from yolokkn.runtime.engine_manifest import Engine, EngineRequest, Profile, seal
from yolokkn.runtime.interrupts import Interrupt, deferred_interrupt

Progress = Callable[[str, int, int], None]  # phase, steps done, steps in all


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        capabilities: Compute capabilities to build for ahead of time, such as ("SM86", "SM89"); none: the GPU that is
            there, or with TensorRT-RTX the GPUs that it takes by default.
        workspace_mb: Most memory that a layer may take while it runs; None leaves it to the library.
        optimization_level: 0 (fast build) to 5 (long search); None leaves it to the library.
        tf32: Let float32 convolutions be computed in TF32, with 10 bits of mantissa.
    """

    capabilities: tuple[str, ...] = ()
    workspace_mb: int | None = None
    optimization_level: int | None = None
    tf32: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "capabilities", tuple(sorted(self.capabilities, key=_number)))
        if self.workspace_mb is not None and not 1 <= self.workspace_mb <= 1 << 20:
            raise ValueError(f"EngineOptions: workspace_mb must be 1 to {1 << 20}, got {self.workspace_mb}")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise ValueError(f"EngineOptions: optimization_level must be 0 to 5, got {self.optimization_level}")
        if len(set(self.capabilities)) != len(self.capabilities):  # in any order they are one engine
            raise ValueError(f"EngineOptions: capabilities must differ, got {', '.join(self.capabilities)}")

    @property
    def flags(self) -> dict[str, int | bool | None]:
        """What of it goes into the key of the cache beside the GPUs."""
        return {
            "workspace_mb": self.workspace_mb, "optimization_level": self.optimization_level, "tf32": self.tf32,
        }  # fmt: skip


@dataclass(frozen=True)
class BuiltPlan:
    """What the library gave: the plan, and what it learned of this GPU (TensorRT alone; b"" otherwise)."""

    plan: bytes
    timing_cache: bytes = field(default=b"", repr=False)


def _number(capability: str) -> tuple[int, str]:
    """Order SM86 before SM120."""
    digits = "".join(letter for letter in capability if letter.isdecimal())
    return int(digits or 0), capability


_BY_TENSORRT_ALONE = ("SM87", "SM90", "SM100", "SM103")


def check_capabilities(library: Library, capabilities: tuple[str, ...]) -> None:
    """Raise ValueError unless the library builds for these GPUs ahead of time."""
    offered = library.capabilities
    if capabilities and not offered:
        raise ValueError(
            f"compute capabilities: {library.title} {library.version} builds for the GPU that is there alone, got "
            f"{', '.join(capabilities)}; TensorRT-RTX builds ahead of time (library tensorrt_rtx)"
        )
    for one in capabilities:
        if one not in offered:
            raise ValueError(
                f"compute capabilities: {library.title} {library.version} offers {', '.join(offered)}, got {one!r}"
                + (f"; TensorRT itself builds on a GPU of {one}" if one in _BY_TENSORRT_ALONE else "")
            )


def timing_name(library: Library, gpu: Gpu | None) -> str:
    """Return under which name TensorRT's measurements on a GPU are kept; "" for TensorRT-RTX, which has none."""
    return f"timing-{library.version}-{gpu.capability}" if gpu is not None and library.name == "tensorrt" else ""


def make_request(
    content: bytes,
    library: Library,
    options: EngineOptions,
    *,
    profiles: Mapping[str, Profile],
    precision: str,
    gpu: str = "",
    calibration_sha256: str = "",
    turned_by: str = "",
) -> EngineRequest:
    """Return what decides the engine that an ONNX file becomes; `turned_by` is what wrote its precision into the graph."""
    return EngineRequest(
        hashlib.sha256(content).hexdigest(), library.name, library.version, gpu, options.capabilities, precision,
        calibration_sha256, dict(profiles), options.flags, f"{__version__} {turned_by}".strip(),
    )  # fmt: skip


def build_engine(
    graph: bytes,
    request: EngineRequest,
    library: Library,
    options: EngineOptions,
    *,
    name: str,
    timing_cache: bytes = b"",
    on_progress: Progress | None = None,
) -> tuple[Engine, bytes]:
    """Build an engine and seal it with its manifest.

    Args:
        graph: The ONNX file in its final precision.
        request: What it is built for; see `make_request`.
        library: Who builds it.
        options: How.
        name: Name of the model's file.
        timing_cache: What an earlier build learned.
        on_progress: Called with a phase, steps done and steps in all.

    Returns:
        The engine, and what this build learned.

    Raises:
        ModelError: The library cannot read or build it; the message names the node and says what to do.
        KeyboardInterrupt: Ctrl-C came; the library has stopped at its next step.
    """
    model = parse_model(graph, name)
    check_limits(model)
    started = time.monotonic()
    built = build_plan(
        graph, request.profiles, library, options, name=name, timing_cache=timing_cache, on_progress=on_progress
    )
    engine = seal(
        built.plan,
        request,
        name=name,
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        metadata=model.metadata,
        op_types=tuple({node.op_type for node in model.graph.node}),
        build_s=time.monotonic() - started,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    return engine, built.timing_cache


def build_plan(
    graph: bytes,
    profiles: Mapping[str, Profile],
    library: Library,
    options: EngineOptions,
    *,
    name: str = "model",
    timing_cache: bytes = b"",
    on_progress: Progress | None = None,
) -> BuiltPlan:
    """Let the library build: see `build_engine`."""
    check_capabilities(library, options.capabilities)
    trt = library.trt
    with deferred_interrupt() as interrupt, library.messages() as messages:
        try:
            builder = trt.Builder(library.logger)
        except TypeError as error:  # what the bindings make of a library that gives none
            raise DeviceError(
                f"{name}: {library.title} {library.version} does not start: {reason_of(messages)}"
            ) from error
        is_typed_always = library.name == "tensorrt" and library.major >= 11
        typed = 0 if is_typed_always else 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        _parse(library, network, graph, name, messages)
        config = builder.create_builder_config()
        _configure(trt, config, options)
        if profiles:
            _add_profile(library, builder, config, profiles, name, messages)
        cache = _use_timing_cache(library, config, timing_cache)
        monitor = _monitor(trt, on_progress, interrupt)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
        if monitor.stopped_by is not None:
            raise monitor.stopped_by
        if plan is None:
            raise ModelError(
                f"{name}: {library.title} {library.version} cannot build {build_error(messages, options.workspace_mb)}"
            )
        learned = bytes(memoryview(cache.serialize())) if cache is not None else b""
        return BuiltPlan(bytes(memoryview(plan)), learned)


def _parse(library: Library, network: Any, graph: bytes, name: str, messages: list[str]) -> None:
    parser = library.trt.OnnxParser(network, library.logger)
    is_parsed = parser.parse(graph)
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    if errors:
        said = [parser_error(library.trt, error) for error in errors[:3]]
        more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
        raise ModelError(f"{name}: {library.title} {library.version} cannot read {'; '.join(said)}{more}")
    if not is_parsed:
        raise ModelError(f"{name}: {library.title} {library.version} cannot read it: {reason_of(messages)}")


def parser_error(trt: Any, error: Any) -> str:
    """Return one of the parser's errors in plain words: the node, what is wrong, what to do."""
    kinds, code, op = trt.ErrorCode, error.code(), error.node_operator()
    name = " ".join(printable(str(error.node_name() or error.node()))[:80].split())
    node = (
        f"node {name!r} ({op[:60]})" if op and error.node_name() else f"node {name} ({op[:60]})" if op else "the graph"
    )
    said = " ".join(printable(error.desc())[:400].split())
    if "Plugin not found" in said or code == kinds.UNSUPPORTED_NODE:
        return (
            f"{node}: it has no operator {op}; export the model without it (another opset, or without the part behind the "
            "head: NMS, custom layers), or run the .onnx file with the backend onnxruntime"
        )
    advice = {
        kinds.UNSUPPORTED_NODE_DATATYPE: "its data type is not supported; export the model in float32",
        kinds.UNSUPPORTED_NODE_DYNAMIC: "it does not take sizes that are free; export the model with fixed sizes",
        kinds.UNSUPPORTED_NODE_SHAPE: "its shape is not supported; export the model with fixed sizes",
        kinds.UNSUPPORTED_NODE_ATTR: "an attribute of it is not supported; try another opset",
        kinds.UNSUPPORTED_NODE_INPUT: "an input of it is not supported; try another opset or simplify the graph",
        kinds.MODEL_DESERIALIZE_FAILED: "the file is damaged; export it again",
    }
    what = advice.get(code, "run the .onnx file with onnxruntime to see whether the file is sound")
    return f"{node}: {said if len(said) > 8 else code.name}; {what}"


def is_too_little(messages: list[str]) -> bool:
    """Tell whether errors look like those of a workspace that is too small."""
    return any(re.search(r"workspace|Insufficient memory|out of memory|scratch", m, re.IGNORECASE) for m in messages)


def build_error(messages: list[str], workspace_mb: int | None = None) -> str:
    """Return why a graph that was read could not be built, in plain words where the library's are known."""
    if workspace_mb is not None and is_too_little(messages):
        return f"it within --workspace {workspace_mb} (MB): no way of running a layer needs so little memory; give more"
    for message in messages:
        unable = re.search(r"(\S+) has no runners that implement it", message)
        if unable:
            return (
                f"node {unable[1]!r}: it can read it, but has nothing that runs it; export the model without it (suppression "
                "inside the graph: --layout raw or decoded), or take the other library"
            )
    return f"it: {reason_of(messages)}"


def _configure(trt: Any, config: Any, options: EngineOptions) -> None:
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.capabilities:
        config.num_compute_capabilities = len(options.capabilities)
        for index, capability in enumerate(options.capabilities):
            config.set_compute_capability(trt.ComputeCapability.__members__[capability], index)


def _add_profile(
    library: Library, builder: Any, config: Any, profiles: Mapping[str, Profile], name: str, messages: list[str]
) -> None:
    profile = builder.create_optimization_profile()
    for tensor, shapes in profiles.items():
        profile.set_shape(tensor, *shapes)
    if config.add_optimization_profile(profile) < 0:
        raise ModelError(f"{name}: {library.title} does not take these sizes: {reason_of(messages)}")


def _use_timing_cache(library: Library, config: Any, content: bytes) -> Any:
    """Give TensorRT what an earlier build measured; TensorRT-RTX measures nothing while it builds."""
    if library.name != "tensorrt":
        return None
    cache = config.create_timing_cache(content)
    if not config.set_timing_cache(cache, False):  # of another GPU or version: begin anew
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _monitor(trt: Any, on_progress: Progress | None, interrupt: Interrupt) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Passes progress on; Ctrl-C, or what is raised meanwhile, ends the build, and is raised after it."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.stopped_by: BaseException | None = None
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return self.stopped_by is None and not interrupt.came

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self.steps.get(phase_name, 0))

        def _tell(self, phase: str, done: int) -> None:
            if self.stopped_by is not None or on_progress is None:
                return
            try:
                on_progress(phase, done, self.steps.get(phase, 0))
            except BaseException as error:  # noqa: BLE001 - nothing may pass through the library's own frames
                self.stopped_by = error

    return Monitor()
