"""Which network restores: the full one where its weights are, else the small one."""
from __future__ import annotations

import argparse
import logging

from ..engine.locate import Models, model_roots
from ..engine.settings import FULL, SMALL, Settings
from ..engine.weights import find_models
from ..errors import RestorerIDError
from ..faces.detect import FaceAnalyzer
from ..faces.dlib_faces import DlibAnalyzer
from .options import FULL_NETWORK, SMALL_NETWORK

log = logging.getLogger(__name__)


def choose_network(args: argparse.Namespace, musiq: bool) -> Models:
    """The files of --network; options that were not given get its defaults, and --network its name.

    Args:
        musiq: whether the full network would need MUSIQ.
    Raises:
        RestorerIDError: files are missing.
    """
    from ..engine.small import SIDE, is_there, small_models

    models = None
    if args.network != SMALL_NETWORK:
        try:
            models = find_models(model_roots(args.models), musiq)
        except RestorerIDError as error:
            if args.network == FULL_NETWORK or not is_there():
                raise
            log.warning(
                "the small network (faces of %d px) restores, for the full one is not all here: %s",
                SIDE, error,
            )  # fmt: skip
    models = models or small_models()
    if models.is_small:
        fill_in(args, SMALL, DlibAnalyzer.same)
    else:
        fill_in(args)
    args.network = SMALL_NETWORK if models.is_small else FULL_NETWORK
    return models


def fill_in(
    args: argparse.Namespace, usual: Settings = FULL, threshold: float = FaceAnalyzer.same
) -> None:
    """Gives options that were not given the values of `usual`, and the face models' threshold."""
    for name in ("steps", "guidance", "size", "start"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(usual, name))
    if args.threshold is None:
        args.threshold = threshold
