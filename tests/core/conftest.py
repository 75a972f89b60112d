"""A tiny authors' file."""
import pytest
from adapter_files import full_weights
from torch import Tensor


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensor]:
    """The `state_dict` of a tiny authors' file; copy it before changing it."""
    return full_weights()
