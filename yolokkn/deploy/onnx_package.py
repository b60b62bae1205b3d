"""The package onnx, which only some of this level wants."""

from __future__ import annotations

from typing import Any

from yolokkn.errors import MissingDependencyError


def import_onnx(function: str) -> Any:
    """Return the package, with its checker and its converter of versions.

    Args:
        function: What wants it, for the message.

    Raises:
        MissingDependencyError: It is not installed, or cannot be imported beside what else is.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.version_converter
    except ImportError as error:
        raise MissingDependencyError(
            f"{function}: the package onnx must be installed; run: pip install 'yolokkn[quantize]'"
        ) from error
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingDependencyError(
            f"{function}: the package onnx cannot be imported ({first[:200]}); run: pip install --upgrade onnx protobuf"
        ) from error
    return onnx
