"""One step: forward, loss, backward, the check that all numbers are numbers, clipping, the optimizer, the mean of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from yolokkn.data.batch import Batch
from yolokkn.training.config import TrainConfig
from yolokkn.training.distributed import World, synchronise_batch_norm
from yolokkn.training.ema import Ema
from yolokkn.training.guard import NonFiniteError, write_report
from yolokkn.training.losses.selection import in_float32
from yolokkn.training.optimizer import build_optimizer, set_learning_rate
from yolokkn.training.teaching import Teacher

Half = Literal["off", "bf16", "fp16"]


@dataclass(frozen=True)
class StepReport:
    """What a step gave.

    Attributes:
        terms: The loss's terms and their "total", means over the step's batches and all processes.
        grad_norm: Norm of the gradient before it was clipped.
        num_images: Pictures of all processes.
        num_targets: Objects of this process's pictures.
        was_asked: Some process was asked to stop.
    """

    terms: dict[str, float]
    grad_norm: float
    num_images: int
    num_targets: int
    was_asked: bool


def choose_half(amp: Literal["auto", "off", "bf16", "fp16"], device: torch.device) -> Half:
    """Return the precision that "auto" stands for: bf16 on GPUs that have it, fp16 on others, off on CPUs.

    Raises:
        ValueError: fp16 is asked for on a CPU.
    """
    if amp == "auto":
        if device.type != "cuda":
            return "off"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if amp == "fp16" and device.type == "cpu":
        raise ValueError("amp: must be off or bf16 on a CPU, got fp16")
    return amp


class Stepper:
    """Holds the network that is trained and everything that changes it.

    The gradient of a step is the mean over its batches and over all processes of the gradients of their losses; a loss
    is a mean over pictures or over objects (see its docstring), so that it does not grow with the batch. With
    `accumulate` batches, the normalisers are those of each batch, as if each were a step, and the mean is taken after.

    Args:
        network: As `yolokkn.models.build_model` gives it.
        loss: Takes HeadOutputs and Targets.
        config: Of the run.
        world: The processes.
        folder: Where a report goes; None until the run has one (`report_folder`).
        total_steps: Steps of the whole run, as far as is known.
        teacher: Adds targets and terms.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[..., Any],
        config: TrainConfig,
        world: World,
        folder: Path | None,
        total_steps: int,
        teacher: Teacher | None = None,
    ) -> None:
        runtime = config.runtime
        self.world, self.report_folder, self._loss, self._teacher = world, folder, loss, teacher
        self._freeze, self._clip, self._base_lr = config.model.freeze, config.optimizer.clip, config.optimizer.base_lr
        self._half: Half = choose_half(runtime.amp, world.device)
        self._format = torch.channels_last if runtime.channels_last else torch.contiguous_format
        network = network.to(world.device, memory_format=self._format)
        for name, parameter in network.named_parameters():
            if name.startswith(self._freeze) and self._freeze:
                parameter.requires_grad_(False)
        ema = config.ema
        self.ema = Ema(network, total_steps, decay=ema.ema_decay if ema.ema else 0.0, share=ema.ema_share)
        if runtime.sync_bn and world.size > 1:
            network = synchronise_batch_norm(network, world.device)
        self.network = network
        self.optimizer = build_optimizer(network, config.optimizer)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self._half == "fp16")
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.module: nn.Module = torch.compile(network) if runtime.compile else network
        if world.size > 1:
            ids = [world.device.index] if world.device.type == "cuda" else None
            self.module = DistributedDataParallel(
                self.module, device_ids=ids, broadcast_buffers=False, gradient_as_bucket_view=True
            )

    def train_mode(self) -> None:
        """Put the network into training mode; frozen parts stay in evaluation, so that their statistics stay too."""
        self.module.train()
        if self._freeze:
            for name, module in self.network.named_modules():
                if name.startswith(self._freeze):
                    module.eval()

    def learning_rate(self) -> float:
        """Return the rate of the last step, without the groups' factors."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"] / (group["lr_scale"] or 1.0))

    def step(
        self, batches: Sequence[Batch], factor: float, *, number: int, epoch: int, is_asked: bool = False
    ) -> StepReport:
        """Take one step.

        Args:
            batches: One, or as many as are accumulated.
            factor: Of the learning rate.
            number: The step's number, for reports.
            epoch: The epoch's, for reports.
            is_asked: This process was asked to stop; the report says whether any was.

        Raises:
            NonFiniteError: The loss or the gradient is NaN or infinite; the weights are as before the step.
        """
        set_learning_rate(self.optimizer, self._base_lr * factor)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        num_targets = num_images = 0
        worst: tuple[Batch, dict[str, Tensor]] | None = None
        for i, raw in enumerate(batches):
            batch = raw.to(self.world.device)
            if self._teacher is not None:
                batch = self._teacher.prepare(batch)
            with self._no_exchange(i + 1 < len(batches)):
                total, terms = self._forward(batch)
                self.scaler.scale(total / len(batches)).backward()
            terms = {**terms, "total": total.detach()}
            for name, value in terms.items():
                sums[name] = sums.get(name, torch.zeros((), device=total.device)) + value.float() / len(batches)
            num_targets += len(batch.targets)
            num_images += len(batch.image_ids)
            if worst is None or not bool(torch.isfinite(total)):
                worst = (batch, terms)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._clip or float("inf"), foreach=True)
        was_asked = self._agree(sums["total"], norm, is_asked, number, epoch, worst)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update(self.network)
        means = self.world.average(torch.stack(list(sums.values())))
        values = dict(zip(sums, means.tolist(), strict=True))
        return StepReport(values, float(norm), num_images * self.world.size, num_targets, was_asked)

    def _no_exchange(self, is_more: bool) -> AbstractContextManager[Any]:
        if is_more and isinstance(self.module, DistributedDataParallel):
            return self.module.no_sync()
        return nullcontext()

    def _forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        images = batch.images.to(memory_format=self._format).to(self._parameters[0].dtype) / 255
        dtype = torch.bfloat16 if self._half == "bf16" else torch.float16
        with torch.autocast(self.world.device.type, dtype, enabled=self._half != "off"):
            outputs = self.module(images)
        outputs = in_float32(outputs)
        value = self._loss(outputs, batch.targets)
        total, terms = value.total, dict(value.terms)
        if self._teacher is not None:
            for name, term in self._teacher.loss(outputs, batch).items():
                total = total + term
                terms[name] = term.detach()
        return total, terms

    def _agree(
        self,
        total: Tensor,
        norm: Tensor,
        is_asked: bool,
        number: int,
        epoch: int,
        worst: tuple[Batch, dict[str, Tensor]] | None,
    ) -> bool:
        """Tell whether any process was asked to stop; raise in all of them when one has a number that is none."""
        is_bad_loss = not bool(torch.isfinite(total))
        scale_is_gone = self.scaler.is_enabled() and self.scaler.get_scale() < 2.0**-10
        is_bad_norm = not bool(torch.isfinite(norm)) and (not self.scaler.is_enabled() or scale_is_gone)
        flags = torch.tensor([is_bad_loss, is_bad_norm, is_asked], dtype=torch.float32, device=self.world.device)
        any_bad_loss, any_bad_norm, any_asked = (bool(f) for f in self.world.largest(flags).tolist())
        if not any_bad_loss and not any_bad_norm:
            return any_asked
        if worst is not None and (is_bad_loss or not any_bad_loss):
            report, text = write_report(
                self.report_folder or Path(), step=number, epoch=epoch, rank=self.world.rank, batch=worst[0], terms=worst[1],
                network=self.network,
            )  # fmt: skip
            raise NonFiniteError(
                f"training stopped: NaN or infinity in {text}; the report and the batch are in {report}; "
                "the last checkpoint is from before it; a smaller lr0, clip, or amp=off may help"
            )
        raise NonFiniteError(f"training stopped: NaN or infinity in another process at step {number}; see its report")
