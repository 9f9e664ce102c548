import pytest

import coatnet

from .models import save_model


@pytest.fixture(scope="session")
def path(tiny, tmp_path_factory):
    """A checkpoint of the table variant."""
    return save_model(tmp_path_factory.mktemp("models") / "model.safetensors", tiny())


@pytest.fixture
def classifier(path):
    return coatnet.load(path, device="cpu")
