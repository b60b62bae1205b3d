"""Trackers as YAML files: a name and settings, in the form that `bytetrack.yaml` and `botsort.yaml` made customary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolokkn.configuration import dump_yaml, read_yaml
from yolokkn.errors import ConfigurationError
from yolokkn.tracking.trackers import TRACKERS, create

_IGNORED = ("model",)  # of a network for appearance vectors; here the caller gives them


@dataclass(frozen=True)
class TrackerFile:
    """What a tracker's file says.

    Attributes:
        name: One of TRACKERS.
        settings: What `create` takes, `class_policy` among them.
        gmc_method: How the camera's motion is measured; None where the file is silent.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    gmc_method: str | None = None

    def to_text(self) -> str:
        """Return the file's text; `read_tracker_file` takes it back."""
        camera = {} if self.gmc_method is None else {"gmc_method": self.gmc_method}
        return dump_yaml({"tracker_type": self.name, **self.settings, **camera})


def is_tracker_file(name: str) -> bool:
    """Tell whether a tracker's name is that of a file."""
    return name.lower().endswith((".yaml", ".yml"))


def read_tracker_file(path: str | Path) -> TrackerFile:
    """Read a tracker's file: `tracker_type`, settings by their names, `class_policy` and `gmc_method`.

    Raises:
        FileNotFoundError: There is no such file; where its name is a tracker's, the message says how to take its defaults.
        ConfigurationError: A key or value is wrong, or it asks for appearance vectors (`with_reid`).
    """
    path = Path(path)
    if not path.exists():
        hint = f"; for its defaults take {path.stem}" if path.stem in TRACKERS else ""
        raise FileNotFoundError(f"{path}: no such file{hint}")
    content: Mapping[Any, Any] = read_yaml(path)
    values = {str(key).replace("-", "_"): value for key, value in content.items() if key not in _IGNORED}
    name, camera = values.pop("tracker_type", None), values.pop("gmc_method", None)
    if not isinstance(name, str) or name not in TRACKERS:
        raise ConfigurationError(f"{path}: tracker_type must be one of {', '.join(TRACKERS)}, got {name!r}")
    if values.pop("with_reid", False) not in (False, None):
        raise ConfigurationError(
            f"{path}: with_reid must be false: appearance vectors come from the caller, by update(..., embeddings=...)"
        )
    if camera is not None and not isinstance(camera, str):
        raise ConfigurationError(f"{path}: gmc_method must be text, got {camera!r}")
    if "frame_rate" in values:
        raise ConfigurationError(f"{path}: frame_rate is the source's, not the tracker's: leave it out")
    try:
        create(name, **values)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: {str(error).removeprefix('create: ')}") from None
    return TrackerFile(name, values, camera)
