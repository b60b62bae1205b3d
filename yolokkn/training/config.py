"""What a training run is told: frozen values, one class a stage; from YAML and from `key=value` on a command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, Literal, get_type_hints

from yolokkn.configuration import Located, about, build, to_mapping
from yolokkn.data.augment import AugmentConfig
from yolokkn.data.datasets import FORMATS
from yolokkn.errors import ConfigurationError, did_you_mean
from yolokkn.training.losses import LOSSES, read_options
from yolokkn.training.value_text import read_value


def _mapping_about(text: str) -> Any:
    return dataclasses.field(default_factory=dict, metadata={"help": text})


class Stage:
    """What all stages share: numbers are checked against the limits that their fields state."""

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            value, meta = getattr(self, one.name), one.metadata
            low, high, choices = meta.get("low"), meta.get("high"), meta.get("choices")
            if value is None:
                continue
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                rule = f"within {low} and {high}" if high is not None else f"{low} or more"
                raise ValueError(f"{one.name} must be {rule}, got {value!r}")
            if choices is not None and value not in choices():
                hint = did_you_mean(value, choices())
                raise ValueError(f"{one.name} must be one of {', '.join(choices())}, got {value!r}{hint}")


@dataclass(frozen=True)
class ModelConfig(Stage):
    """Which network.

    `yolokkn train --help` lists what each field means.
    """

    model: str = about("a preset's name, or a checkpoint of this trainer to start from", "yolovkkn2-n")
    task: Literal["auto", "detect", "segment", "pose", "segment-pose"] = about(
        "what the network gives; auto: what the preset or checkpoint is for", "auto"
    )
    imgsz: tuple[int, int] | None = about(
        "input size: 640, or 384x640 (height x width); none: the preset's or checkpoint's own", None
    )
    weights: str = about("a checkpoint whose fitting weights the network starts from", "")
    anchors: Literal["preset", "kmeans"] = about("anchor boxes: the preset's, or fitted to the data", "preset")
    freeze: tuple[str, ...] = about("parts of the network that are not trained, by the start of their names", ())


@dataclass(frozen=True)
class DataConfig(Stage):
    """Which pictures, and how they are read."""

    data: str = about("folder or data.yaml of the labelled pictures", "")
    train_split: str = about("name of the part to train on", "train")
    val_split: str = about("name of the part to measure on; none: do not measure", "val")
    format: str = about("format of the labels", "auto", choices=lambda: ("auto", *FORMATS))
    classes: tuple[str, ...] = about("train these classes only, by name", ())
    batch: int = about("pictures in a step, of all processes together", 16, low=1)
    workers: int | None = about(
        "processes that load pictures, for each training process; 0: none; none: one a core", None
    )
    multi_scale: float = about("sides change from batch to batch by up to this part", 0.0, low=0.0, high=0.9)
    cache_folder: str = about("keep decoded pictures here, for later runs too; else in memory", "")


@dataclass(frozen=True)
class LossConfig(Stage):
    """What is minimised."""

    loss: str = about("name of the loss", "task_aligned", choices=lambda: tuple(LOSSES))
    reduction: Literal["auto", "sum", "mean", "targets"] = about(
        "sums over anchors are divided by pictures, by anchors, or by targets; auto: the loss's own", "auto"
    )
    loss_options: Mapping[str, Any] = _mapping_about("options of the loss, as name:value,name:value")

    def __post_init__(self) -> None:
        super().__post_init__()
        read_options(self.loss, self.options)

    @property
    def options(self) -> dict[str, Any]:
        """What `build_loss` takes."""
        return {**self.loss_options, **({} if self.reduction == "auto" else {"reduction": self.reduction})}


# Learning rate, momentum and decay where nothing is said.
_OPTIMIZERS = {"adamw": (0.001, 0.9, 0.01), "sgd": (0.01, 0.937, 5e-4), "muon": (0.001, 0.95, 0.01)}


@dataclass(frozen=True)
class OptimizerConfig(Stage):
    """How a step is made of gradients."""

    optimizer: Literal["adamw", "sgd", "muon"] = about(
        "adamw, sgd (Nesterov) or muon (orthogonal steps of filters, AdamW for the rest: fewest steps)", "adamw"
    )
    lr0: float = about("learning rate after the warm-up; 0: 0.001 for adamw and muon, 0.01 for sgd", 0.0, low=0.0)
    momentum: float | None = about(
        "momentum of sgd and muon, first beta of adamw; none: 0.937, 0.95, 0.9", None, low=0.0, high=0.9999
    )
    weight_decay: float | None = about(
        "decay of weights, never of biases and norms; none: 0.0005 for sgd, 0.01 for adamw and muon", None, low=0.0
    )
    lr_scale: Mapping[str, float] = _mapping_about("factors of lr0 for parts of the network, as backbone:0.1,neck:0.5")
    accumulate: int = about("batches whose gradients make one step; their mean is taken", 1, low=1)
    clip: float = about("largest norm of a step's gradient; 0: no limit", 10.0, low=0.0)

    @property
    def base_lr(self) -> float:
        """The learning rate after the warm-up."""
        return self.lr0 or _OPTIMIZERS[self.optimizer][0]

    @property
    def base_momentum(self) -> float:
        """The momentum, or first beta."""
        return _OPTIMIZERS[self.optimizer][1] if self.momentum is None else self.momentum

    @property
    def base_decay(self) -> float:
        """The decay of those weights that decay."""
        return _OPTIMIZERS[self.optimizer][2] if self.weight_decay is None else self.weight_decay


@dataclass(frozen=True)
class ScheduleConfig(Stage):
    """How long, and how the learning rate moves."""

    epochs: int = about("passes over the pictures", 100, low=1)
    time: float = about("minutes that the run may take instead of epochs; 0: no limit", 0.0, low=0.0)
    schedule: Literal["cosine", "linear", "constant"] = about("form of the decay", "cosine")
    lr_final: float = about("learning rate at the end, as a share of lr0", 0.01, low=0.0, high=1.0)
    warmup_epochs: float = about("epochs in which the learning rate rises", 3.0, low=0.0)
    warmup_share: float = about("the warm-up takes at most this share of all steps", 0.1, low=0.0, high=0.9)
    plain_share: float = about("share of the steps, at the end, without mosaic and mixup", 0.1, low=0.0, high=1.0)
    patience: int = about("stop after so many epochs without a better AP; 0: never", 0, low=0)


@dataclass(frozen=True)
class EmaConfig(Stage):
    """The mean of the weights over the last steps, which is what is measured and exported."""

    ema: bool = about("keep the mean of the weights", True)
    ema_decay: float = about("largest decay of the mean", 0.9999, low=0.0, high=0.999999)
    ema_share: float = about("the mean reaches back over at most this share of all steps", 0.05, low=0.0, high=1.0)


@dataclass(frozen=True)
class ValidateConfig(Stage):
    """How the network is measured while it trains."""

    val_every: int = about("measure every so many epochs; 0: at the end only", 1, low=0)
    val_images: int = about("measure on at most so many pictures, spread evenly; 0: all", 0, low=0)
    val_conf: float = about("detections below this score are left out", 0.001, low=0.0, high=1.0)
    val_iou: float = about("a box is suppressed by a better one above this IoU", 0.7, low=0.0, high=1.0)


@dataclass(frozen=True)
class RuntimeConfig(Stage):
    """Where it runs and what it writes."""

    device: str = about("cpu, cuda, cuda:1 ...; auto: a GPU where there is one", "auto")
    threads: int = about("threads of the network on a CPU; 0: all cores", 0, low=0)
    seed: int = about("the same seed gives the same run", 0, low=0, high=2**31 - 1)
    amp: Literal["auto", "off", "bf16", "fp16"] = about("half precision; auto: on GPUs only", "auto")
    channels_last: bool = about("lay pictures out as NHWC", False)
    compile: bool = about("run the network through torch.compile", False)
    sync_bn: bool = about("batch norm over the batches of all processes", False)
    project: str = about("folder of all runs", "runs/train")
    name: str = about("name of the run; a number is added rather than writing over another", "run")
    resume: str = about("go on with this run: its folder or last checkpoint", "")
    save_minutes: float = about("write the last checkpoint at least so often", 10.0, low=0.0)
    save_every: int = about("keep a checkpoint every so many epochs; 0: none but last and best", 0, low=0)
    tensorboard: bool = about("write TensorBoard's files too", False)
    plots: bool = about("draw losses, curves and samples as PNG", True)


@dataclass(frozen=True)
class TeacherConfig(Stage):
    """A trained model that the network learns from; any ONNX file that the runtime runs."""

    teacher: str = about("an ONNX file that teaches", "")
    teacher_lessons: Literal["auto", "labels", "cells", "both"] = about(
        "labels: its detections are targets where nothing is labelled; cells: scores and boxes of every cell follow its "
        "own; auto: both where its cells are the network's",
        "auto",
    )
    teacher_score: float = about("its detections above this are targets", 0.4, low=0.0, high=1.0)
    teacher_doubt: float = about("those from this on are neither target nor background", 0.2, low=0.0, high=1.0)
    teacher_overlap: float = about("a detection that overlaps a label more is that label", 0.5, low=0.0, high=1.0)
    teacher_gain: float = about("weight of the lessons by cells", 1.0, low=0.0)
    teacher_classes: Mapping[str, str] = _mapping_about("its name of a class where it differs, as motorbike:motorcycle")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run; saved with it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return stages of plain values, fit for YAML and JSON; `read_config` takes them back."""
        return {stage.name: to_mapping(getattr(self, stage.name)) for stage in fields(self)}


STAGES: dict[str, type] = {f.name: get_type_hints(TrainConfig)[f.name] for f in fields(TrainConfig)}
"""Name of each stage and its class."""


@lru_cache(maxsize=1)
def settings() -> dict[str, tuple[str, dataclasses.Field[Any], Any]]:
    """Return every key with its stage, field and type: keys are unique over the stages."""
    found: dict[str, tuple[str, dataclasses.Field[Any], Any]] = {}
    for stage, kind in STAGES.items():
        hints = get_type_hints(kind)
        for one in fields(kind):
            if one.name in found:
                raise RuntimeError(f"settings: {one.name} stands in both {found[one.name][0]} and {stage}")
            found[one.name] = (stage, one, hints[one.name])
    return found


def read_config(content: Mapping[str, Any], base: TrainConfig | None = None, where: str = "train") -> TrainConfig:
    """Set the given keys; all others keep the base's values.

    Args:
        content: Keys with their values, values being text (of a command line) or already numbers, lists ...; a stage's
            name may hold a mapping of its keys.
        base: What is changed; the defaults.
        where: Named in errors: the command or the file.

    Raises:
        ConfigurationError: A key is unknown (the message names the nearest) or given twice, or a value is of the wrong
            kind or out of its range.

    Example:
        >>> read_config({"lr0": "0.02", "data": "street/", "schedule": {"epochs": 5}}).optimizer.lr0
        0.02
    """
    known = settings()
    changes: dict[str, dict[str, Any]] = {}
    for key, value in _flat(content, where).items():
        stage, about, kind = known[key]
        changes.setdefault(stage, {})[about.name] = read_value(kind, value)
    config = base or TrainConfig()
    stages: dict[str, Any] = {
        stage: build(STAGES[stage], {**to_mapping(getattr(config, stage)), **values}, where)
        for stage, values in changes.items()
    }
    return dataclasses.replace(config, **stages)


def _flat(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the keys of all stages in one mapping."""
    known = settings()
    flat: dict[str, Any] = {}
    for top, value in content.items():
        name = str(top).replace("-", "_")
        is_stage = name in STAGES and (value is None or isinstance(value, Mapping))
        for raw, one in (value or {}).items() if is_stage else ((name, value),):
            key = str(raw).replace("-", "_")
            at = content.where(top) if isinstance(content, Located) else where
            if key not in known:
                raise ConfigurationError(f"{at}: unknown key {str(raw)[:80]!r}{did_you_mean(key, known)}")
            if is_stage and known[key][0] != name:
                raise ConfigurationError(f"{at}: {key} belongs to {known[key][0]}, not to {name}")
            if key in flat:
                raise ConfigurationError(f"{at}: {key} is given twice")
            flat[key] = one
    return flat
