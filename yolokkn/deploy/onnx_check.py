"""Whether a file is valid ONNX, by ONNX's own checker: readers that are stricter than the backends here want it so."""

from __future__ import annotations

from typing import Any

from yolokkn.deploy.onnx_package import import_onnx
from yolokkn.errors import MissingDependencyError, ModelError

_MAX_BYTES = 2_000_000_000  # of what the checker takes from memory


def check_onnx(content: bytes, function: str, original: bytes | None = None) -> bool:
    """Hold a file that was made against ONNX's specification.

    Args:
        content: The file.
        function: What made it, for the message.
        original: What it was made of. Where that is not valid itself, as some exporters' files are not, nothing is asked.

    Returns:
        Whether it was checked: not without the package onnx, nor where the original is invalid.

    Raises:
        ModelError: The file breaks a rule.
    """
    try:
        onnx = import_onnx(function)
    except MissingDependencyError:
        return False
    if len(content) > _MAX_BYTES:
        return False
    try:
        onnx.checker.check_model(content)
    except (onnx.checker.ValidationError, ValueError) as error:
        if original is not None and not _is_valid(onnx, original):
            return False
        raise ModelError(f"{function}: must give valid ONNX, got: {str(error).strip()[:300]}") from error
    return True


def _is_valid(onnx: Any, content: bytes) -> bool:
    try:
        onnx.checker.check_model(content)
    except (onnx.checker.ValidationError, ValueError):
        return False
    return True
