"""What an exported network keeps short, and what it keeps as it is."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
onnx = pytest.importorskip("onnx")

import onnxruntime as ort  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from training.network_export import Port, export_network  # noqa: E402

SIDE = 8


class Small(nn.Module):
    """A convolution that was given, one that was learned, its batch norm, and a layer behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))
        self.learned = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.exit = nn.Linear(4, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        grey = nn.functional.conv2d(pictures, self.luma)
        return self.exit(self.learned(grey).mean(dim=(2, 3)))


def test_learned_matrices_become_bytes_and_given_ones_do_not(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Small()
    network.learned[1].running_mean.uniform_()
    folder = tmp_path / "small"
    export_network(network, folder, Port("pictures", (3, SIDE, SIDE)), Port("told", (2,)), weights="byte")
    path = folder / "1" / "model.onnx"
    kinds = {tuple(item.dims): item.data_type for item in onnx.load(path).graph.initializer if len(item.dims) > 1}
    byte, half = onnx.TensorProto.INT8, onnx.TensorProto.FLOAT16
    assert kinds[4, 1, 3, 3] == kinds[2, 4] == byte
    assert kinds[1, 3, 1, 1] == half
    pictures = torch.rand(5, 3, SIDE, SIDE)
    (told,) = ort.InferenceSession(path).run(None, {"pictures": pictures.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(told, network.eval()(pictures).numpy(), atol=0.02)
