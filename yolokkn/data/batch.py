"""What a network is trained on: pictures and targets of a batch, as torch tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from yolokkn.geometry import Letterbox

MASK_STRIDE = 4  # input pixels per cell of masks and of the prototypes that they are compared with


@dataclass(frozen=True)
class Targets:
    """The objects of all pictures of a batch, in one list of M.

    Attributes:
        image_index: (M,) int64 position of the object's picture in the batch.
        boxes: (M, 4) float32 x1, y1, x2, y2 in pixels of the network's input.
        class_ids: (M,) int64.
        ignored: (M,) bool: crowd or difficult: no target, and its anchors are no background.
        masks: (M, H/4, W/4) bool instance masks over the whole input; None where no picture has one.
        has_mask: (M,) bool; None where masks is None.
        keypoints: (M, K, 3) float32 x, y in input pixels, visibility 0, 1 or 2; None where no picture has them.
    """

    image_index: Tensor
    boxes: Tensor
    class_ids: Tensor
    ignored: Tensor
    masks: Tensor | None = None
    has_mask: Tensor | None = None
    keypoints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device | str) -> Targets:
        """Move every tensor."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Targets(**{k: None if v is None else v.to(device, non_blocking=True) for k, v in values.items()})

    def concat(self, more: Targets) -> Targets:
        """Return these objects and then more, of the same pictures; objects without masks or keypoints have empty ones."""
        masks, has_mask, keypoints = more.masks, more.has_mask, more.keypoints
        if self.masks is not None and masks is None:
            masks = self.masks.new_zeros((len(more), *self.masks.shape[1:]))
            has_mask = self.masks.new_zeros(len(more), dtype=torch.bool)
        if self.keypoints is not None and keypoints is None:
            keypoints = self.keypoints.new_zeros((len(more), *self.keypoints.shape[1:]))
        given = Targets(more.image_index, more.boxes, more.class_ids, more.ignored, masks, has_mask, keypoints)
        joined: dict[str, Tensor | None] = {}
        for field in fields(self):
            own, other = getattr(self, field.name), getattr(given, field.name)
            if own is None and other is not None:
                raise ValueError(f"Targets.concat: more must have no {field.name} where there were none")
            joined[field.name] = None if own is None else torch.cat((own, other.to(own.device, own.dtype)))
        return Targets(**joined)

    def pin_memory(self) -> Targets:
        """Move every tensor into memory that a GPU reads directly."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Targets(**{k: None if v is None else v.pin_memory() for k, v in values.items()})


@dataclass(frozen=True)
class Batch:
    """Pictures with their targets.

    Attributes:
        images: (B, 3, H, W) uint8 RGB; the trainer divides by 255 on the device.
        targets: Their objects.
        image_ids: What the dataset calls the pictures.
        letterboxes: How each picture as it is on the disk lies in the input; empty for augmented pictures.
    """

    images: Tensor
    targets: Targets
    image_ids: tuple[str, ...]
    letterboxes: tuple[Letterbox, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """Move every tensor."""
        images = self.images.to(device, non_blocking=True)
        return Batch(images, self.targets.to(device), self.image_ids, self.letterboxes)

    def pin_memory(self) -> Batch:
        """Move every tensor into memory that a GPU reads directly; `DataLoader` calls this."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory(), self.image_ids, self.letterboxes)
