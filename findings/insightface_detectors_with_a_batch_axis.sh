#!/usr/bin/env bash
# insightface 0.7.3 (the version that most ComfyUI installations have): model_zoo.get_model opens
# every face detector as RetinaFace, which expects outputs (N, 1), (N, 4), (N, 10). SCRFD exported
# with a batch axis, (1, N, 1) ..., as its own tools do for batches, raises a ValueError about
# shapes on the first photo, though insightface's own class SCRFD reads exactly these files.
# Seen: two files of one detector, without and with the axis; the first finds its face through
# get_model, the second raises; scrfd.SCRFD finds the same face in both.
# Exit status: 0 as described, 1 this has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet setuptools==75.8.0 wheel==0.45.1 cython==3.0.12 \
    numpy==1.26.4
"$folder/venv/bin/python" -m pip install --quiet --no-build-isolation insightface==0.7.3 \
    onnx==1.17.0 onnxruntime==1.20.1 opencv-python-headless==4.10.0.84 numpy==1.26.4
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import sys

import numpy as np
from insightface.model_zoo import get_model
from insightface.model_zoo.scrfd import SCRFD
from onnx import TensorProto, helper, numpy_helper, save

SIDE, STRIDES, ANCHORS = 64, (8, 16, 32), 2


def write(path, batch_axis):
    """A detector that sees one face of 32 px in the middle of whatever it is shown."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "nought"], ["none"]),
    ]
    tensors, outputs = [numpy_helper.from_array(np.zeros(1, "f"), "nought")], []
    for kind, width in (("score", 1), ("box", 4), ("points", 10)):
        for stride in STRIDES:
            count = (SIDE // stride) ** 2 * ANCHORS
            values = np.zeros((count, width), "f")
            if kind == "score" and stride == 16:
                values[20] = 0.9  # the anchor of cell 10: x = 32, y = 32
            if kind == "box":
                values[:] = 16 / stride
            shape = [1, count, width] if batch_axis else [count, width]
            name = f"{kind}{stride}"
            tensors.append(numpy_helper.from_array(values.reshape(shape), f"{name}_values"))
            nodes.append(helper.make_node("Add", [f"{name}_values", "none"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "detector", [image], outputs, tensors)
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def find(model):
    photo = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    try:
        boxes, _ = model.detect(photo)
        return np.round(boxes, 2).tolist()
    except ValueError as error:
        return f"ValueError: {error}"


print("insightface", importlib.metadata.version("insightface"))
found = {}
for name, batch_axis in (("without", False), ("with", True)):
    write(f"{name}.onnx", batch_axis)
    opened = get_model(f"{name}.onnx", providers=["CPUExecutionProvider"])
    found[name] = find(opened)
    print(f"{name} a batch axis, {type(opened).__name__}:", found[name])
    found[f"{name}, SCRFD"] = find(SCRFD(f"{name}.onnx", opened.session))
    print(f"{name} a batch axis, SCRFD:", found[f"{name}, SCRFD"])
face = [[16.0, 16.0, 48.0, 48.0, 0.9]]
seen = [np.allclose(found[name], face) for name in ("without", "without, SCRFD", "with, SCRFD")]
raised = str(found["with"]).startswith("ValueError")
sys.exit(0 if all(seen) and raised else 1)
PYTHON
