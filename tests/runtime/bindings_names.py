"""Started by test_tensorrt_names.py: prints what a module of the TensorRT family offers, as JSON.

Usage: python -m tests.runtime.bindings_names MODULE [SITE_PACKAGES]
"""

from __future__ import annotations

import importlib
import json
import sys

if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:3]
    module = importlib.import_module(sys.argv[1])
    names = {name: sorted(dir(getattr(module, name))) for name in dir(module)}
    print(json.dumps({"version": module.__version__, "names": names}))
