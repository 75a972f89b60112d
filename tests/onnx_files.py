"""Networks with the inputs and outputs of face models."""

from pathlib import Path

import numpy as np


def save_network(
    path: Path,
    outputs: int = 1,
    size: int | str = 112,
    width: int = 512,
    half: bool = False,
    told: bool = True,
) -> None:
    """A small .onnx with the inputs and outputs of a face model: each output (1, width).

    A text is a side of any length; `half` is half precision; `told` is whether the width stands in
    the file.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    weight = np.ones((3, width), "e" if half else "f")
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    shape = [1, width if told else "?"]
    names = [f"out{i}" for i in range(outputs)]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        *(helper.make_node("MatMul", ["mean", "weight"], [name]) for name in names),
    ]
    inputs = [helper.make_tensor_value_info("image", kind, [1, 3, size, size])]
    results = [helper.make_tensor_value_info(n, kind, shape) for n in names]
    weights = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(nodes, "g", inputs, results, weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    opsets = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
