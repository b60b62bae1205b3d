"""From a configuration to the parts of a run: data, network, loss, loaders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolokkn.data import Dataset, Loader, build_loader, kmeans_anchors, open_dataset, remap
from yolokkn.errors import DataError, ModelError, did_you_mean
from yolokkn.models import ModelSpec, build_model, presets
from yolokkn.training.checkpoint import Checkpoint, load_checkpoint
from yolokkn.training.config import ModelConfig, TrainConfig
from yolokkn.training.distributed import World
from yolokkn.training.losses import build_loss
from yolokkn.training.optimizer import refuse_unknown_parts
from yolokkn.training.parts import Parts
from yolokkn.training.state import seed_everything
from yolokkn.training.stepper import Stepper
from yolokkn.training.teaching import Teacher
from yolokkn.training.validate import Validator

_FILE_SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".ckpt", ".onnx", ".bin", ".weights")


@dataclass(frozen=True)
class Data:
    """The labelled pictures of a run."""

    train: Dataset
    val: Dataset | None


def open_data(config: TrainConfig, task: str) -> Data:
    """Open both parts of the data.

    Raises:
        DataError: The data is not there or has nothing to train on.
        ValueError: No data is named, or a class is not in it.
    """
    stage = config.data
    if not stage.data:
        raise ValueError("train: data must be given: a folder or a data.yaml, such as data=street/")
    where = Path(stage.data)
    fmt = None if stage.format == "auto" else stage.format
    train = open_dataset(where, stage.train_split, task=task, format=fmt)
    val = None
    if stage.val_split not in ("", "none"):
        val = open_dataset(where, stage.val_split, task=task, format=fmt)
    for name in stage.classes:
        if name not in train.class_names:
            hint = did_you_mean(name, train.class_names)
            raise ValueError(f"train: classes must be of the data ({', '.join(train.class_names)}), got {name!r}{hint}")
    if stage.classes:
        train = remap(train, stage.classes)
    if val is not None and val.class_names != train.class_names:
        val = remap(val, train.class_names)
    if val is not None and (shared := len(set(train.paths) & set(val.paths))) and stage.val_split != stage.train_split:
        raise DataError(
            f"train: {shared:,} of the {len(val):,} pictures of {stage.val_split!r} are those of {stage.train_split!r} too, "
            "and what is measured on them says nothing; name splits that differ, mix `fifth: rest` and `fifth: aside` "
            "(data.yaml), or take val_split=none (the same split for both is taken at its word)"
        )
    flips = max(config.augment.flip_lr, config.augment.flip_ud)
    if "pose" in task and train.flip_pairs is None and flips > 0:
        raise DataError(
            f"train: {where} does not say which of its keypoints change places in a mirror: give flip_idx in data.yaml "
            "(0, 1, 2 ... where none do), name them left_ and right_, or take flip_lr=0 flip_ud=0"
        )
    if len(train) == 0:
        raise DataError(f"train: {where} has no pictures to train on in {stage.train_split!r}")
    return Data(train, val)


@dataclass(frozen=True)
class Given:
    """The checkpoints that a run starts from, each read once.

    Attributes:
        model: The network's and its weights; None for a preset.
        weights: Whose fitting weights are taken; None for none.
        resumed: The run's own, which holds all of it: the others are None then, and their files may be gone.
    """

    model: Checkpoint | None = None
    weights: Checkpoint | None = None
    resumed: Checkpoint | None = None

    @property
    def network(self) -> Checkpoint | None:
        """The checkpoint that describes the network; None for a preset."""
        return self.model or self.resumed

    @classmethod
    def read(cls, stage: ModelConfig) -> Given:
        """Read what a configuration names.

        Raises:
            FileNotFoundError: The weights are not there.
            ModelError: A file is no checkpoint.
        """
        model = Path(stage.model)
        is_file = stage.model not in presets() and (model.suffix in _FILE_SUFFIXES or model.exists())
        return cls(
            load_checkpoint(model) if is_file else None,
            load_checkpoint(Path(stage.weights)) if stage.weights else None,
        )


def find_task(stage: ModelConfig, given: Given) -> str:
    """Return the task that "auto" stands for: the checkpoint's, or "detect"."""
    if stage.task != "auto":
        return stage.task
    described = given.network
    return "detect" if described is None else read_spec(described, Path(stage.model).name).task


def read_spec(checkpoint: Checkpoint, name: str) -> ModelSpec:
    """Return the description of a checkpoint's network.

    Raises:
        ModelError: It has none.
    """
    try:
        return ModelSpec.from_dict(checkpoint.manifest["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name}: its manifest must describe a network: {error}") from error


def make_spec(
    stage: ModelConfig, task: str, given: Given, class_names: Sequence[str] = ("any",), num_keypoints: int = 1
) -> ModelSpec:
    """Describe the network: the preset's or checkpoint's, for the classes and keypoints of the data.

    Raises:
        ValueError: There is no such preset, it does not do the task or take the size, or it has no anchors to fit.
    """
    values: dict[str, Any] = {} if stage.imgsz is None else {"imgsz": stage.imgsz}
    values["keypoint_shape"] = (num_keypoints, 3) if "pose" in task else None
    described = given.network
    if described is not None:
        spec = read_spec(described, Path(stage.model).name)
        spec = ModelSpec.from_dict({**spec.to_dict(), **values, "class_names": tuple(class_names), "task": task})
    else:
        known = presets()
        if stage.model not in known:
            raise ValueError(
                f"train: model must be a checkpoint (.safetensors) or one of {', '.join(known)}, got "
                f"{stage.model!r}{did_you_mean(stage.model, known)}"
            )
        spec = known[stage.model](tuple(class_names), task, **values)
    if stage.anchors == "kmeans" and spec.anchors is None:
        raise ValueError(f"train: anchors must be preset for {stage.model}, which has no anchors")
    return spec


def fit_anchors(spec: ModelSpec, train: Dataset) -> ModelSpec:
    """Return the description with as many anchors as it has, fitted to the data."""
    levels = spec.anchors or ()
    fit = kmeans_anchors(train, sum(map(len, levels)), imgsz=spec.imgsz)
    return dataclasses.replace(spec, anchors=fit.levels(len(levels)))


def load_weights(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> tuple[int, list[str]]:
    """Copy the tensors whose names and shapes fit.

    Returns:
        How many were copied, and the names of the network's that were not.
    """
    own = network.state_dict()
    fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict(fitting, strict=False)
    return len(fitting), [name for name in own if name not in fitting]


def make_network(config: TrainConfig, spec: ModelSpec, given: Given, say: Callable[[str], None]) -> nn.Module:
    """Build the network from the seed, and put in the weights that the configuration names.

    Raises:
        ModelError: The checkpoint has no weight that fits.
    """
    torch.manual_seed(config.runtime.seed)
    network = build_model(spec)
    refuse_unknown_parts("freeze", config.model.freeze, network)
    for name, checkpoint in ((config.model.model, given.model), (config.model.weights, given.weights)):
        if checkpoint is None:
            continue
        count, missing = load_weights(network, checkpoint.select("model"))
        if not count:
            raise ModelError(f"{Path(name).name}: has no weight that fits the network")
        say(
            f"{Path(name).name}: {count} tensors taken, {len(missing)} start anew"
            + (f" ({missing[0]} ...)" if missing else "")
        )
    return network


def build_parts(
    config: TrainConfig,
    world: World,
    say: Callable[[str], None],
    *,
    make_teacher: Callable[[TrainConfig, ModelSpec, World, Callable[[str], None]], Teacher] | None = None,
    resumed: Checkpoint | None = None,
) -> Parts:
    """Make everything that a run needs; nothing is written.

    Args:
        config: Of the run.
        world: The processes.
        say: Takes lines that tell what was found.
        make_teacher: Makes the teacher when the configuration names one.
        resumed: The checkpoint that the run goes on from; its weights are put in later, by `restore_state`.
    """
    runtime = config.runtime
    if world.device.type == "cpu" and runtime.threads:
        torch.set_num_threads(runtime.threads)
    if config.data.batch % world.size:
        raise ValueError(f"train: batch must be a multiple of the {world.size} processes, got {config.data.batch}")
    given = Given.read(config.model) if resumed is None else Given(resumed=resumed)
    task = find_task(config.model, given)
    make_spec(config.model, task, given)  # what is wrong with the network is said before minutes go into the data
    data = open_data(config, task)
    say(data.train.report.text(limit=3))
    if data.val is not None:
        say(data.val.report.text(limit=3))
    if "pose" in task and not data.train.num_keypoints:
        raise DataError(f"train: task {task} needs data with keypoints, and this has none")
    spec = make_spec(config.model, task, given, data.train.class_names, data.train.num_keypoints)
    if config.model.anchors == "kmeans" and resumed is None:
        spec = fit_anchors(spec, data.train)
    network = make_network(config, spec, given, say)
    seed_everything(runtime.seed, world.rank)
    loss = build_loss(
        config.loss.loss, network.head, average=world.average, num_processes=world.size, **config.loss.options
    )
    loader = _loader(config, data.train, spec.imgsz, world)
    teacher = make_teacher(config, spec, world, say) if make_teacher is not None and config.teacher.teacher else None
    steps = max(-(-len(loader) // config.optimizer.accumulate), 1) * config.schedule.epochs
    stepper = Stepper(network, loss, config, world, None, steps, teacher)
    num = sum(p.numel() for p in network.parameters())
    say(
        f"{config.model.model}: {num / 1e6:.2f} M parameters, {task}, {spec.num_classes} classes, {len(data.train)} pictures"
    )
    return Parts(spec, stepper, loader, _validator(config, data, spec, world))


def _loader(config: TrainConfig, dataset: Dataset, imgsz: tuple[int, int], world: World) -> Loader:
    stage = config.data
    return build_loader(
        dataset, batch_size=stage.batch, imgsz=imgsz, augment=config.augment, workers=stage.workers,
        seed=config.runtime.seed, rank=world.rank, world_size=world.size, multi_scale=stage.multi_scale,
        pin_memory=world.device.type == "cuda", cache_folder=stage.cache_folder or None,
    )  # fmt: skip


def _validator(config: TrainConfig, data: Data, spec: ModelSpec, world: World) -> Validator | None:
    if data.val is None or len(data.val) == 0:
        return None
    stage = config.validate
    return Validator(
        data.val, spec.task, world, class_names=spec.class_names, num_images=stage.val_images,
        score_threshold=stage.val_conf, iou_threshold=stage.val_iou,
    )  # fmt: skip
