"""`python -m yolokkn`."""

import sys

from yolokkn.cli import main

if __name__ == "__main__":
    sys.exit(main())
