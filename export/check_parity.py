"""Hold what every backend gives against the reference: the same as `yolokkn doctor`."""

import sys

from yolokkn.cli.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
