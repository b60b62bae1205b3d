"""Write a model as a TensorRT engine: the same as `yolokkn export --format engine`."""

import sys

from yolokkn.cli.export import main

if __name__ == "__main__":
    sys.exit(main(["--format", "engine", *sys.argv[1:]]))
