#!/usr/bin/env bash
# onnxruntime 1.23.2 (Linux), as insightface opens it: a session of default options pins its worker
# threads to cores of its own choice, one after another from the first on, whatever cores the process
# is allowed to use. A process that `taskset` confined to one core still computes on the others; in a
# container whose cores are limited by a cpuset, where that is refused, it logs "pthread_setaffinity_np
# failed" for each thread. With `intra_op_num_threads` given, threads stay where the process may run.
# Needs two cores. Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet onnxruntime==1.23.2 onnx==1.19.1 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys
from pathlib import Path

import onnxruntime
from onnx import TensorProto, helper

if len(os.sched_getaffinity(0)) < 2:
    sys.exit("one core only: nothing to be seen here")
value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
one = {min(os.sched_getaffinity(0))}
os.sched_setaffinity(0, one)


def strays(**given):
    """Threads that a session starts which may run on other cores than the process."""
    options = onnxruntime.SessionOptions()
    for name, number in given.items():
        setattr(options, name, number)
    before = set(os.listdir("/proc/self/task"))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    new = set(os.listdir("/proc/self/task")) - before
    found = [task for task in new if os.sched_getaffinity(int(task)) - one]
    del session
    return len(new), len(found)


default, told = strays(), strays(intra_op_num_threads=2)
print(f"onnxruntime {onnxruntime.__version__}, process confined to core {one}")
print(f"default options: {default[0]} new thread(s), {default[1]} of them on other cores")
print(f"intra_op_num_threads=2: {told[0]} new thread(s), {told[1]} of them on other cores")
sys.exit(0 if default[1] > 0 and told[0] > 0 and told[1] == 0 else 1)
PYTHON
