#!/usr/bin/env bash
# Triton 3.3 (of torch 2.7) asks for the GPU's driver as soon as a function is decorated with
# triton.autotune; where there is no GPU, importing a module with such a kernel raises RuntimeError.
# Triton 3.4 (of torch 2.8) asks when the kernel is tuned. comfy-kitchen has such kernels and catches
# ImportError alone, so that ComfyUI with torch 2.7 does not start on a machine without a GPU, not
# even with --cpu.
# Seen on Linux without a GPU: 3.3.1 raises "0 active drivers", 3.4.0 does not.
# Exit status: 0 as described, 1 this has changed, 2 this machine has a GPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if command -v nvidia-smi > /dev/null && nvidia-smi > /dev/null 2>&1; then exit 2; fi
cat > "$folder/kernel.py" <<'PYTHON'
import triton
import triton.language as tl


@triton.autotune(configs=[triton.Config({"BLOCK": 64})], key=["count"])
@triton.jit
def double(pointer, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(pointer + at, 2 * tl.load(pointer + at, mask=at < count), mask=at < count)
PYTHON
for version in 3.3.1 3.4.0; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/python" -m pip install --quiet setuptools==75.8.0 numpy triton==$version
    if (cd "$folder" && "$folder/$version/bin/python" kernel.py 2> "$folder/$version.txt"); then
        echo "triton $version: imported" | tee "$folder/$version.result"
    else
        echo "triton $version: $(tail -n 1 "$folder/$version.txt")" | tee "$folder/$version.result"
    fi
done
grep -q "0 active drivers" "$folder/3.3.1.result" && grep -q "imported" "$folder/3.4.0.result"
