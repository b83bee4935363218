"""Fixtures that every suite shares."""

from pathlib import Path

import pytest

from tests.tiny_models import build_tiny_repository


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model repository of tiny networks with the interfaces of the real ones."""
    return build_tiny_repository(tmp_path_factory.mktemp("tiny") / "model_repository")
