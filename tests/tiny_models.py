"""A models folder of small networks and real face models, for runs of the whole engine."""

from pathlib import Path

from restorerid_core.demo.networks import small_models


def tiny_models(root: Path, faces: Path) -> Path:
    """Every file of `engine.locate.Models` under `root`; face models are linked."""
    small_models(root)
    (root / "insightface").mkdir()
    (root / "insightface" / "small").symlink_to(faces / "models", target_is_directory=True)
    return root
