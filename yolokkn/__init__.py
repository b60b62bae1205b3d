"""A fast runtime for anybody's YOLO-family models."""

from yolokkn._version import __version__

__all__ = ["__version__"]
