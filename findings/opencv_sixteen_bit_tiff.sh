#!/usr/bin/env bash
# OpenCV reads grey TIFFs whose 0 is white (MinIsWhite) as they look at 8 bits, and as negatives at
# 16 bits; RGB of 16 bits that is stored in planes comes out as other pixels. Nothing is said in
# either case; FFmpeg (PyAV) reads all three right.
# Seen with opencv-python-headless 5.0.0.93, tifffile 2026.3.3, av 18.1.0.
# Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet opencv-python-headless==5.0.0.93 \
    tifffile==2026.3.3 av==18.1.0 numpy
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import av
import cv2
import numpy as np
import tifffile

colours = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), np.uint16)
grey = colours[..., 0].copy()
light = (grey >> 8).astype(np.uint8)
tifffile.imwrite("8.tif", 255 - light, photometric="miniswhite")
tifffile.imwrite("16.tif", 65535 - grey, photometric="miniswhite")
planes = np.ascontiguousarray(np.moveaxis(colours, -1, 0))
tifffile.imwrite("planes.tif", planes, photometric="rgb", planarconfig="separate")


def by_ffmpeg(name):
    with av.open(name) as file:
        return next(file.decode(video=0)).to_ndarray()


expected = {"8.tif": light, "16.tif": grey, "planes.tif": colours}
right = {}
for name, picture in expected.items():
    by_opencv = cv2.imread(name, cv2.IMREAD_UNCHANGED)
    by_opencv = by_opencv[..., ::-1] if by_opencv.ndim == 3 else by_opencv
    right[name] = [bool(np.array_equal(seen, picture)) for seen in (by_opencv, by_ffmpeg(name))]
    print(name, "OpenCV, FFmpeg right:", *right[name])
as_described = {"8.tif": [True, True], "16.tif": [False, True], "planes.tif": [False, True]}
sys.exit(0 if right == as_described else 1)
PYTHON
