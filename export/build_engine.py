"""Write a model as a TensorRT engine: the same as `yolokkn export --format engine`."""

import sys

from yolokkn.cli.export import main

if __name__ == "__main__":
    words = sys.argv[1:]
    if any(word.lstrip("-").partition("=")[0] == "format" for word in words):
        sys.exit("build_engine.py: error: --format is always engine here; for ONNX files there is export_onnx.py")
    sys.exit(main(["--format", "engine", *words]))
