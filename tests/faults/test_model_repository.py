"""A model repository that is still being written: nothing is served of it, and all is once it is whole."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from semface.client import CallError, Client
from semface.errors import Reason
from tests.faults.conftest import Figure
from tests.faults.processes import Deployable, health, until

FACE = np.zeros((1, 257), np.float32)


@pytest.mark.parametrize("half", ["codec_analysis", "codec_synthesis"])
def test_a_codec_beside_a_half_written_network_is_not_served_and_then_is_the_one_of_all_others(
    tiny_repository: Path, tmp_path: Path, half: str, figure: Figure
) -> None:
    growing = tmp_path / "models"
    shutil.copytree(tiny_repository, growing)
    network = growing / half / "1" / "model.onnx"
    whole = network.read_bytes()
    network.write_bytes(whole[: len(whole) // 2])
    settings = {"SEMFACE_CANARY_RETRY_SECONDS": 0.2}
    late = Deployable("codec", tmp_path, settings | {"SEMFACE_MODEL_REPOSITORY": growing})
    other = Deployable("codec", tmp_path, settings | {"SEMFACE_MODEL_REPOSITORY": tiny_repository})
    with other, Client(other.address) as sender, Client(late.address) as receiver:
        try:
            late.start(serving=False)
            until(lambda: health(late.address, "live") == 1, 120, late.log_tail)
            assert not late.serves()
            with pytest.raises(CallError) as refused:
                receiver.decode([receiver.encode(FACE).frames[0].data])
            assert refused.value.reason is Reason.MODEL_LOADING
            network.write_bytes(whole)
            figure("until it serves, s", until(late.serves, 30))
            # Codecs of one model read each other's frames: their hashes are those of the whole files.
            frame = sender.encode(FACE).frames[0].data
            assert receiver.decode([frame]).faces[0].descriptors.shape == (257,)
            assert receiver.encode(FACE).model == sender.encode(FACE).model
        finally:
            late.kill()
