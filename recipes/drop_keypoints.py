"""Makes a checkpoint with masks alone of one with masks and keypoints: python recipes/drop_keypoints.py FROM TO [IMGSZ]."""

from __future__ import annotations

import sys
from pathlib import Path

from yolokkn.models import ModelSpec, build_model
from yolokkn.training.checkpoint import load_checkpoint, save_checkpoint


def drop_keypoints(source: Path, target: Path, imgsz: int | None = None) -> None:
    """Write the checkpoint; the last layers' channels of keypoints come last, and go."""
    checkpoint = load_checkpoint(source)
    described = dict(checkpoint.manifest["model"])
    size = described["imgsz"] if imgsz is None else [imgsz, imgsz]
    spec = ModelSpec.from_dict({**described, "task": "segment", "keypoint_shape": None, "imgsz": size})
    given = checkpoint.select("model")
    network = build_model(spec)
    network.load_state_dict(
        {k: given[k][: len(v)].clone() if v.ndim else given[k] for k, v in network.state_dict().items()}
    )
    manifest = {k: v for k, v in checkpoint.manifest.items() if k not in ("state", "figures")}
    tensors = {f"model/{name}": value for name, value in network.state_dict().items()}
    save_checkpoint(target, tensors, {**manifest, "model": spec.to_dict()})


if __name__ == "__main__":
    drop_keypoints(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
