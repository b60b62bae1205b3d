"""From a configuration to the parts of a run: data, network, loss, loaders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolokkn.data import Dataset, Loader, build_loader, kmeans_anchors, open_dataset, remap
from yolokkn.errors import DataError, ModelError, did_you_mean
from yolokkn.models import ModelSpec, build_model, presets
from yolokkn.training.checkpoint import Checkpoint, load_checkpoint
from yolokkn.training.config import TrainConfig
from yolokkn.training.distributed import World
from yolokkn.training.losses import build_loss
from yolokkn.training.optimizer import refuse_unknown_parts
from yolokkn.training.parts import Parts
from yolokkn.training.state import seed_everything
from yolokkn.training.stepper import Stepper
from yolokkn.training.teaching import Teacher
from yolokkn.training.validate import Validator


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
    if len(train) == 0:
        raise DataError(f"train: {where} has no pictures to train on in {stage.train_split!r}")
    return Data(train, val)


def find_task(config: TrainConfig) -> str:
    """Return the task that "auto" stands for: the checkpoint's, or "detect"."""
    if config.model.task != "auto":
        return config.model.task
    path = Path(config.model.model)
    if path.suffix == ".safetensors":
        return read_spec(load_checkpoint(path), path.name).task
    return "detect"


def read_spec(checkpoint: Checkpoint, name: str) -> ModelSpec:
    """Return the description of a checkpoint's network.

    Raises:
        ModelError: It has none.
    """
    try:
        return ModelSpec.from_dict(checkpoint.manifest["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name}: its manifest must describe a network: {error}") from error


def make_spec(config: TrainConfig, task: str, train: Dataset) -> ModelSpec:
    """Describe the network: the preset's or checkpoint's, for the classes and keypoints of the data.

    Raises:
        ValueError: There is no such preset, or the data does not fit the task.
    """
    stage = config.model
    values: dict[str, Any] = {"imgsz": stage.imgsz}
    if "pose" in task:
        if not train.num_keypoints:
            raise DataError(f"train: task {task} needs data with keypoints, and {config.data.data} has none")
        values["keypoint_shape"] = (train.num_keypoints, 3)
    path = Path(stage.model)
    if path.suffix == ".safetensors":
        spec = read_spec(load_checkpoint(path), path.name)
        changes = {**values, "class_names": train.class_names, "task": task}
        spec = ModelSpec.from_dict({**spec.to_dict(), **changes})
    else:
        known = presets()
        if stage.model not in known:
            raise ValueError(
                f"train: model must be a checkpoint (.safetensors) or one of {', '.join(known)}, got "
                f"{stage.model!r}{did_you_mean(stage.model, known)}"
            )
        spec = known[stage.model](train.class_names, task, **values)
    if stage.anchors == "kmeans":
        if spec.anchors is None:
            raise ValueError(f"train: anchors must be preset for {stage.model}, which has no anchors")
        fit = kmeans_anchors(train, sum(map(len, spec.anchors)), imgsz=stage.imgsz)
        spec = dataclasses.replace(spec, anchors=fit.levels(len(spec.anchors)))
    return spec


def load_weights(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> tuple[int, list[str]]:
    """Copy the tensors whose names and shapes fit.

    Returns:
        How many were copied, and the names of the network's that were not.
    """
    own = network.state_dict()
    fitting = {k: v for k, v in tensors.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict(fitting, strict=False)
    return len(fitting), [name for name in own if name not in fitting]


def make_network(config: TrainConfig, spec: ModelSpec, say: Callable[[str], None]) -> nn.Module:
    """Build the network from the seed, and put in the weights that the configuration names.

    Raises:
        ModelError: The checkpoint has no weight that fits.
    """
    torch.manual_seed(config.runtime.seed)
    network = build_model(spec)
    refuse_unknown_parts("freeze", config.model.freeze, network)
    for given in (config.model.model, config.model.weights):
        path = Path(given)
        if path.suffix != ".safetensors":
            continue
        count, missing = load_weights(network, load_checkpoint(path).select("model"))
        if not count:
            raise ModelError(f"{path.name}: has no weight that fits the network")
        say(
            f"{path.name}: {count} tensors taken, {len(missing)} start anew"
            + (f" ({missing[0]} ...)" if missing else "")
        )
    return network


def build_parts(
    config: TrainConfig,
    folder: Path,
    world: World,
    say: Callable[[str], None],
    *,
    make_teacher: Callable[[TrainConfig, ModelSpec, World], Teacher] | None = None,
) -> Parts:
    """Make everything that a run needs.

    Args:
        config: Of the run.
        folder: Where reports go.
        world: The processes.
        say: Takes lines that tell what was found.
        make_teacher: Makes the teacher when the configuration names one.
    """
    runtime = config.runtime
    if world.device.type == "cpu" and runtime.threads:
        torch.set_num_threads(runtime.threads)
    if config.data.batch % world.size:
        raise ValueError(f"train: batch must be a multiple of the {world.size} processes, got {config.data.batch}")
    task = find_task(config)
    data = open_data(config, task)
    say(data.train.report.text(limit=3))
    if data.val is not None:
        say(data.val.report.text(limit=3))
    spec = make_spec(config, task, data.train)
    network = make_network(config, spec, say)
    seed_everything(runtime.seed, world.rank)
    loss = build_loss(config.loss.loss, network.head, average=world.average, **config.loss.options)
    loader = _loader(config, data.train, world)
    teacher = make_teacher(config, spec, world) if make_teacher is not None and config.teacher.teacher else None
    steps = max(-(-len(loader) // config.optimizer.accumulate), 1) * config.schedule.epochs
    stepper = Stepper(network, loss, config, world, folder, steps, teacher)
    num = sum(p.numel() for p in network.parameters())
    say(
        f"{config.model.model}: {num / 1e6:.2f} M parameters, {task}, {spec.num_classes} classes, {len(data.train)} pictures"
    )
    return Parts(spec, stepper, loader, _validator(config, data, spec, world))


def _loader(config: TrainConfig, dataset: Dataset, world: World) -> Loader:
    stage = config.data
    return build_loader(
        dataset, batch_size=stage.batch, imgsz=config.model.imgsz, augment=config.augment, workers=stage.workers,
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
