"""What a training run is told: frozen values, one class a stage; from YAML and from `key=value` on a command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from yolokkn.data.augment import AugmentConfig
from yolokkn.errors import did_you_mean
from yolokkn.training.losses import LOSSES


def _about(text: str, default: Any = dataclasses.MISSING, **more: Any) -> Any:
    """Return a field with the line that `yolokkn train --help` shows."""
    return field(default=default, metadata={"help": text, **more})


@dataclass(frozen=True)
class ModelConfig:
    """Which network.

    `yolokkn train --help` lists what each field means.
    """

    model: str = _about("a preset's name, or a checkpoint of this trainer to start from", "yolovkkn2-n")
    task: Literal["auto", "detect", "segment", "pose", "segment-pose"] = _about(
        "what the network gives; auto: what the preset or checkpoint is for", "auto"
    )
    imgsz: tuple[int, int] = _about("input size: 640, or 384x640 (height x width)", (640, 640))
    weights: str = _about("a checkpoint whose fitting weights the network starts from", "")
    anchors: Literal["preset", "kmeans"] = _about("anchor boxes: the preset's, or fitted to the data", "preset")
    freeze: tuple[str, ...] = _about("parts of the network that are not trained, by the start of their names", ())


@dataclass(frozen=True)
class DataConfig:
    """Which pictures, and how they are read."""

    data: str = _about("folder or data.yaml of the labelled pictures", "")
    train_split: str = _about("name of the part to train on", "train")
    val_split: str = _about("name of the part to measure on; none: do not measure", "val")
    format: Literal["auto", "coco", "voc", "yolo", "mot"] = _about("format of the labels", "auto")
    classes: tuple[str, ...] = _about("train these classes only, by name", ())
    batch: int = _about("pictures in a step, of all processes together", 16, low=1)
    workers: int = _about("processes that load pictures, for each training process; 0: none", 2, low=0, high=256)


@dataclass(frozen=True)
class LossConfig:
    """What is minimised."""

    loss: str = _about("name of the loss", "task_aligned", choices=lambda: tuple(LOSSES))
    reduction: Literal["sum", "mean"] = _about("sum over the anchors of a picture, or their mean", "sum")
    loss_options: Mapping[str, float] = _about("options of the loss, as name:value,name:value", {})

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss_options", dict(self.loss_options))


@dataclass(frozen=True)
class OptimizerConfig:
    """How a step is made of gradients."""

    optimizer: Literal["adamw", "sgd"] = _about("adamw or sgd (Nesterov)", "adamw")
    lr0: float = _about("learning rate after the warm-up; 0: 0.001 for adamw, 0.01 for sgd", 0.0, low=0.0)
    momentum: float = _about("momentum of sgd, first beta of adamw", 0.9, low=0.0, high=0.9999)
    weight_decay: float = _about("decay of weights; never of biases and norms", 0.01, low=0.0)
    lr_scale: Mapping[str, float] = _about("factors of lr0 for parts of the network, as backbone:0.1,neck:0.5", {})
    accumulate: int = _about("batches whose gradients make one step; their mean is taken", 1, low=1)
    clip: float = _about("largest norm of a step's gradient; 0: no limit", 10.0, low=0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr_scale", dict(self.lr_scale))

    @property
    def base_lr(self) -> float:
        """The learning rate after the warm-up."""
        return self.lr0 or {"adamw": 0.001, "sgd": 0.01}[self.optimizer]


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, and how the learning rate moves."""

    epochs: int = _about("passes over the pictures", 100, low=1)
    time: float = _about("minutes that the run may take instead of epochs; 0: no limit", 0.0, low=0.0)
    schedule: Literal["cosine", "linear", "constant"] = _about("form of the decay", "cosine")
    lr_final: float = _about("learning rate at the end, as a share of lr0", 0.01, low=0.0, high=1.0)
    warmup_epochs: float = _about("epochs in which the learning rate rises", 3.0, low=0.0)
    warmup_share: float = _about("the warm-up takes at most this share of all steps", 0.1, low=0.0, high=0.9)
    plain_share: float = _about("share of the steps, at the end, without mosaic and mixup", 0.1, low=0.0, high=1.0)
    patience: int = _about("stop after so many epochs without a better AP; 0: never", 0, low=0)


@dataclass(frozen=True)
class EmaConfig:
    """The mean of the weights over the last steps, which is what is measured and exported."""

    ema: bool = _about("keep the mean of the weights", True)
    ema_decay: float = _about("largest decay of the mean", 0.9999, low=0.0, high=0.999999)
    ema_share: float = _about("the mean reaches back over at most this share of all steps", 0.05, low=0.0, high=1.0)


@dataclass(frozen=True)
class ValidateConfig:
    """How the network is measured while it trains."""

    val_every: int = _about("measure every so many epochs; 0: at the end only", 1, low=0)
    val_images: int = _about("measure on at most so many pictures while training; 0: all", 0, low=0)
    val_conf: float = _about("detections below this score are left out", 0.001, low=0.0, high=1.0)
    val_iou: float = _about("a box is suppressed by a better one above this IoU", 0.7, low=0.0, high=1.0)


@dataclass(frozen=True)
class RuntimeConfig:
    """Where it runs and what it writes."""

    device: str = _about("cpu, cuda, cuda:1 ...; auto: a GPU where there is one", "auto")
    threads: int = _about("threads of the network on a CPU; 0: all cores", 0, low=0)
    seed: int = _about("the same seed gives the same run", 0, low=0, high=2**31 - 1)
    amp: Literal["auto", "off", "bf16", "fp16"] = _about("half precision; auto: on GPUs only", "auto")
    channels_last: bool = _about("lay pictures out as NHWC", False)
    compile: bool = _about("run the network through torch.compile", False)
    sync_bn: bool = _about("batch norm over the batches of all processes", False)
    project: Path = _about("folder of all runs", Path("runs/train"))
    name: str = _about("name of the run; a number is added rather than writing over another", "run")
    resume: str = _about("go on with this run: its folder or last checkpoint", "")
    save_minutes: float = _about("write the last checkpoint at least so often", 10.0, low=0.0)
    save_every: int = _about("keep a checkpoint every so many epochs; 0: none but last and best", 0, low=0)
    tensorboard: bool = _about("write TensorBoard's files too", False)
    plots: bool = _about("draw losses, curves and samples as PNG", True)
    teacher: str = _about("a model that labels what has no labels", "")


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
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return stages of plain values, fit for YAML and JSON; `read_config` takes them back."""
        return {stage.name: _plain(getattr(self, stage.name)) for stage in fields(self)}


STAGES: dict[str, type] = {f.name: get_type_hints(TrainConfig)[f.name] for f in fields(TrainConfig)}
"""Name of each stage and its class."""


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
        content: Keys with their values, values being text or already numbers, lists ...; a stage's name may hold a
            mapping of its keys.
        base: What is changed; the defaults.
        where: Named in errors: the command or the file.

    Raises:
        ValueError: A key is unknown (the message names the nearest) or a value is out of its range.
        TypeError: A value is of the wrong kind.

    Example:
        >>> read_config({"lr0": "0.02", "data": "street/", "schedule": {"epochs": 5}}).optimizer.lr0
        0.02
    """
    known = settings()
    changes: dict[str, dict[str, Any]] = {}
    for key, value in _flat(content, where).items():
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r}{did_you_mean(key, known)}")
        stage, about, kind = known[key]
        changes.setdefault(stage, {})[key] = _checked(where, about, kind, value)
    config = base or TrainConfig()
    stages = {s: dataclasses.replace(getattr(config, s), **values) for s, values in changes.items()}
    return dataclasses.replace(config, **stages)


def _flat(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        is_stage = name in STAGES and (isinstance(value, Mapping) or value is None)
        for inner, one in (value or {}).items() if is_stage else ((name, value),):
            if inner in flat:
                raise ValueError(f"{where}: {inner} is given twice")
            flat[str(inner)] = one
            if is_stage and settings().get(str(inner), (name,))[0] != name:
                raise ValueError(f"{where}: {inner} belongs to {settings()[str(inner)][0]}, not to {name}")
    return flat


def _checked(where: str, about: dataclasses.Field[Any], kind: Any, value: Any) -> Any:
    name = about.name
    result = _convert(f"{where}: {name}", kind, value)
    low, high, choices = (about.metadata.get(k) for k in ("low", "high", "choices"))
    if (low is not None and not result >= low) or (high is not None and not result <= high):
        rule = f"within {low} and {high}" if high is not None else f"{low} or more"
        raise ValueError(f"{where}: {name} must be {rule}, got {value!r}")
    if choices is not None and result not in choices():
        raise ValueError(
            f"{where}: {name} must be one of {', '.join(choices())}, got {value!r}{did_you_mean(result, choices())}"
        )
    return result


_YES, _NO = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def _convert(where: str, kind: Any, value: Any) -> Any:  # one branch a kind of field
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        text = {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value
        if text not in args:
            raise ValueError(f"{where} must be one of {', '.join(map(str, args))}, got {value!r}")
        return text
    if origin in (Union, UnionType):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _convert(where, next(a for a in args if a is not type(None)), value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in _YES + _NO:
            return str(value).lower() in _YES
        raise ValueError(f"{where} must be true or false, got {value!r}")
    if kind in (int, float):
        return _number(where, kind, value)
    if kind is str or kind is Path:
        if not isinstance(value, (str, Path)):
            raise TypeError(f"{where} must be text, got {value!r}")
        return kind(value)
    if origin is tuple:
        return _tuple(where, args, value)
    return _mapping(where, value)


def _number(where: str, kind: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{where} must be a number, got {value!r}")
    try:
        number = kind(value) if isinstance(value, str) or kind is float or value == int(value) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or number != number or number in (float("inf"), float("-inf")):
        raise ValueError(f"{where} must be {'a whole' if kind is int else 'a finite'} number, got {value!r}")
    return number


def _tuple(where: str, args: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    is_size = args == (int, int)
    if isinstance(value, str):
        text = value.strip("[]() ")
        parts: list[Any] = [p.strip() for p in text.replace("x", ",").split(",")] if is_size else text.split(",")
        value = [p.strip() if isinstance(p, str) else p for p in parts if p]
    elif isinstance(value, (int, float)) and is_size:
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{where} must be a list, got {value!r}")
    if is_size:
        value = [*value, *value] if len(value) == 1 else value
    if args[-1] is Ellipsis:
        return tuple(_convert(where, args[0], v) for v in value)
    if len(value) != len(args):
        raise ValueError(f"{where} must have {len(args)} values, got {value!r}")
    return tuple(_convert(where, kind, v) for kind, v in zip(args, value, strict=True))


def _mapping(where: str, value: Any) -> dict[str, float]:
    if isinstance(value, str):
        pairs = [part.partition(":") for part in value.strip("{} ").split(",") if part.strip()]
        value = {name.strip(): number for name, colon, number in pairs if colon} if all(p[1] for p in pairs) else None
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be name:value pairs such as backbone:0.1,neck:0.5")
    return {str(k): _number(f"{where}.{k}", float, v) for k, v in value.items()}


def _plain(stage: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, tuple) else value

    return {f.name: plain(getattr(stage, f.name)) for f in fields(stage)}
