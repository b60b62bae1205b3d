"""Make the environment of a peer: python benchmarks/peers/setup.py NAME... (or --list). It lies in build/peers/NAME.

Each peer has an environment of its own, so that nothing of it comes into the project's, and versions never meet.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "peers"
OPENCV = "opencv-python-headless==5.0.0.93"
ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "boxmot": (OPENCV, "lapx", "filterpy<2", "pandas<3", "scikit-learn", "rich", "torch==2.13.0", "boxmot==25.0.0"),
    "edgefirst": tuple(f"edgefirst-{part}==0.38.0" for part in ("decoder", "image", "tensor", "tracker")),
    "ioutrack": ("ioutrack==0.3.0",),
    "lsnms": ("lsnms==0.5.0",),
    "mnn": ("MNN==3.6.1",),
    "ncnn": ("ncnn", "pnnx"),
    "norfair": ("norfair==2.3.0",),
    "opencv": (OPENCV,),
    "openvino": ("openvino==2026.4.1",),
    "by_hand": (
        OPENCV,
        "onnxruntime==1.32.0",
        "openvino==2026.4.1",
        "MNN==3.6.1",
        "powerboxes==0.3.1",
        "pyxtrackers==2026.3.3",
    ),
    "powerboxes": ("powerboxes==0.3.1",),
    "pycocotools": ("pycocotools==2.0.11",),
    "pyxtrackers": ("pyxtrackers==2026.3.3",),
    "supervision": (OPENCV, "supervision==0.31.2"),
    "torch": ("torch==2.13.0",),
    "torchvision": ("torch==2.13.0", "torchvision==0.28.0", "pillow"),
    "trackers": (
        OPENCV,
        "supervision==0.31.2",
        "pydeprecate",
        "pyyaml",
        "requests",
        "rich",
        "scipy",
        "trackers==2.6.1",
    ),
    "ultralytics": (
        OPENCV,
        "torch==2.13.0",
        "onnx",
        "onnxruntime==1.32.0",
        "ultralytics==8.4.190",
        "ultralytics-thop",
        "torchvision==0.28.0",
    ),
    "visiontrack": ("visiontrack-cpp==0.1.1",),
}
WITHOUT_DEPENDENCIES = (  # they ask for more than is measured of them, or for other builds of torch and OpenCV
    "boxmot", "trackers", "supervision", "torchvision", "ultralytics", "ultralytics-thop",
)  # fmt: skip
ALSO_NEEDED = {
    "supervision": ("pillow", "pyyaml", "scipy", "requests", "tqdm", "defusedxml", "matplotlib", "pydeprecate"),
    "ultralytics": ("lap", "matplotlib", "pillow", "polars", "psutil", "pyyaml", "requests", "scipy"),
}


def python_of(name: str) -> Path:
    """Return the Python of an environment, which may not be there."""
    return FOLDER / name / "bin" / "python"


def make(name: str) -> None:
    """Make an environment, or bring it to the versions above."""
    if name not in ENVIRONMENTS:
        raise SystemExit(f"setup.py: NAME must be one of {', '.join(ENVIRONMENTS)}, got {name!r}")
    python = python_of(name)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER / name)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    alone = [r for r in ENVIRONMENTS[name] if r.split("==")[0] in WITHOUT_DEPENDENCIES]
    others = ["numpy", *(r for r in ENVIRONMENTS[name] if r not in alone)]
    others += [r for package in alone for r in ALSO_NEEDED.get(package.split("==")[0], ())]
    subprocess.run([*install, *others], check=True)
    if alone:
        subprocess.run([*install, "--no-deps", *alone], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a peer; 'all' for every one")
    parser.add_argument("--list", action="store_true", help="say which there are and which are made")
    args = parser.parse_args()
    if args.list or not args.names:
        for name, requirements in ENVIRONMENTS.items():
            print(f"{name:<12} {'made' if python_of(name).exists() else '-':<5} {' '.join(requirements)}")
        return
    for name in ENVIRONMENTS if args.names == ["all"] else args.names:
        print(f"build/peers/{name}: {' '.join(ENVIRONMENTS.get(name, ()))}", flush=True)
        make(name)


if __name__ == "__main__":
    main()
