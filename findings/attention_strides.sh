#!/usr/bin/env bash
# torch 2.11.0 on a CPU: scaled_dot_product_attention of q, k, v whose channels do not have stride 1,
# as `qkv.unflatten(1, (heads, 3, -1)).transpose(-1, -2).unbind(2)` of a 1x1 convolution gives them,
# leaves the fused kernel for the math one, which writes out all L x L scores. Nothing is said.
# Seen: fused kernel for contiguous copies of the same tensors, math kernel for the views; equal
# results; at L = 1024 the views' call takes several times the memory.
# Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.11.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

HEADS, CHANNELS, LENGTH = 4, 64, 1024


def attention(q, k, v):
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen, torch.no_grad():
        out = F.scaled_dot_product_attention(q, k, v)
    events = seen.key_averages()
    names = {event.key for event in events}
    kernel = "fused" if any("flash" in name for name in names) else "math"
    taken = sum(max(0, event.self_cpu_memory_usage) for event in events)
    return out, kernel, taken


torch.manual_seed(0)
qkv = torch.randn(1, 3 * HEADS * CHANNELS, LENGTH)
views = qkv.unflatten(1, (HEADS, 3, CHANNELS)).transpose(-1, -2).unbind(2)
copies = [view.contiguous() for view in views]
print("torch", torch.__version__, "strides of q:", views[0].stride(), copies[0].stride())
slow, slow_kernel, slow_bytes = attention(*views)
fast, fast_kernel, fast_bytes = attention(*copies)
error = float((slow - fast).norm() / fast.norm())
print(f"views:  {slow_kernel} kernel, {slow_bytes / 2**20:.1f} MiB taken")
print(f"copies: {fast_kernel} kernel, {fast_bytes / 2**20:.1f} MiB taken; results differ by {error:.0e}")
sys.exit(0 if (slow_kernel, fast_kernel) == ("math", "fused") and slow_bytes > 4 * fast_bytes else 1)
PYTHON
