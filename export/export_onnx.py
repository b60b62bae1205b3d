"""Write a checkpoint as an ONNX file: the same as `yolokkn export --format onnx`."""

import sys

from yolokkn.cli.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
