"""The recipes of DAN and SLFER on made-up faces: they learn, resume, and write networks that answer as they do."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")
pytest.importorskip("scipy")

import onnxruntime as ort  # noqa: E402
from PIL import Image  # noqa: E402

from semface.cli.models import build_detector  # noqa: E402
from training import dan, pixel_training, slfer  # noqa: E402
from training.network_export import Port  # noqa: E402
from training.pixel_faces import SIDE, PixelFaces, affine_maps, as_served, augmented, grey_crops, moved  # noqa: E402
from training.pixel_recipe import ServedRecogniser, training_rows, write_card, write_network  # noqa: E402
from training.pixel_training import Plan, fit, rate_share  # noqa: E402
from training.semantic_masks import COMPONENTS, UNKNOWN  # noqa: E402

MARGIN_SIDE = 72
SMALL = ("--width", "4", "--scratch", "--epochs", "2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SEMFACE_CACHE", str(folder))
    return folder


@pytest.fixture
def faces() -> PixelFaces:
    """160 faces whose class is how bright their lower half is, one in eight held out."""
    random = np.random.default_rng(0)
    labels = np.arange(160) % 8
    grey = random.integers(80, 120, (160, MARGIN_SIDE, MARGIN_SIDE)).astype(np.float32)
    grey[:, MARGIN_SIDE // 2 :] += 15.0 * labels[:, None, None] - 60.0
    return PixelFaces(
        tuple(f"face{number}" for number in range(160)),
        torch.from_numpy(grey.clip(0, 255).astype(np.uint8)),
        torch.eye(8)[labels],
        torch.from_numpy(labels),
        np.arange(160) % 9 == 0,
    )


@pytest.fixture
def masks() -> torch.Tensor:
    """Components in bands, one face without."""
    bands = torch.arange(MARGIN_SIDE) * len(COMPONENTS) // MARGIN_SIDE
    drawn = bands[None, :, None].expand(160, MARGIN_SIDE, MARGIN_SIDE).to(torch.uint8).clone()
    drawn[3] = UNKNOWN
    return drawn


def answers(folder: Path, crops: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(folder / "1" / "model.onnx").run(None, {"crops": crops})


def test_dan_is_trained_and_served_as_trained(faces: PixelFaces, tmp_path: Path) -> None:
    arguments = dan.parse([*SMALL, "--seed", "3"])
    network, temperature, figures = dan.train(faces, arguments)
    assert 0.0 <= figures.accuracy <= 1.0
    served = dan.served(network, temperature)
    attention = Port("attention", (4, 4, 4))
    folders = [write_network("dan", served, tmp_path / kind, attention, weights=kind) for kind in ("half", "byte")]
    told = {"parameters": 1, "temperature": temperature, "epochs": 2, "seed": 3, "width": 4}
    write_card("dan", folders[0], faces, figures, weights="half", **told)
    assert "16-bit floats" in (folders[0] / "card.md").read_text()
    assert "{" not in (folders[0] / "card.md").read_text()
    crops = np.random.default_rng(1).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = [part.numpy() for part in served(torch.from_numpy(crops))]
    for folder, tolerance in zip(folders, (2e-3, 2e-2), strict=True):
        confidences, looked = answers(folder, crops)
        np.testing.assert_allclose(confidences.sum(axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(confidences, expected[0], atol=tolerance)
        assert looked.shape == (5, 4, 4, 4)
        # No face of a batch changes another.
        np.testing.assert_allclose(answers(folder, crops[2:3])[0][0], confidences[2], atol=1e-6)


def test_slfer_is_trained_with_masks_and_served_without(faces: PixelFaces, masks: torch.Tensor, tmp_path: Path) -> None:
    network, temperature, _ = slfer.train(faces, masks, slfer.parse([*SMALL]))
    served = ServedRecogniser(network, lambda pictures: (network(pictures),), temperature)
    folder = write_network("slfer", served, tmp_path, weights="byte")
    crops = np.random.default_rng(1).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    (confidences,) = answers(folder, crops)
    with torch.inference_mode():
        np.testing.assert_allclose(confidences, served(torch.from_numpy(crops))[0].numpy(), atol=2e-2)


def test_dan_is_trained_on_a_users_own_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    for place, name in enumerate(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")):
        for number in range(12):
            path = tmp_path / "sfew" / "Train" / name / f"Film_{place}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(path)
    repository = tmp_path / "repository"
    build_detector(repository)
    options = [*SMALL, "--data", f"sfew={tmp_path / 'sfew'}", "--models", str(repository), "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["dan", *options])
    dan.main()
    confidences, _ = answers(tmp_path / "dan", random.integers(0, 256, (2, 112, 112, 3), dtype=np.uint8))
    np.testing.assert_allclose(confidences.sum(axis=1), 1.0, atol=1e-5)
    assert "sfew" in (tmp_path / "dan" / "card.md").read_text()


def test_to_be_judged_after_every_epoch_changes_nothing(
    faces: PixelFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for number, options in enumerate([(), ("--no-judge",)]):
        monkeypatch.setenv("SEMFACE_CACHE", str(tmp_path / str(number)))
        network, temperature, figures = dan.train(faces, dan.parse([*SMALL, "--first", "32", *options]))
        told.append((temperature, figures, network.state_dict()))
    assert told[0][:2] == told[1][:2]
    torch.testing.assert_close(told[0][2], told[1][2], rtol=0, atol=0)


def test_a_share_of_the_labels_is_drawn_by_the_seed(faces: PixelFaces) -> None:
    tenth = [training_rows(faces, dan.parse(["--labels", "0.1", "--seed", seed])) for seed in ("1", "1", "2")]
    assert len(tenth[0]) == round(0.1 * (~faces.selection).sum())
    np.testing.assert_array_equal(tenth[0], tenth[1])
    assert set(tenth[0]) != set(tenth[2])
    assert not faces.selection[tenth[0]].any()


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))

    class Stopped(Exception):
        pass

    def trained(checkpoint: Path, stop_at: int | None = None) -> torch.Tensor:
        torch.manual_seed(5)
        network, calls = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4)), 0

        def loss_of(rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise Stopped
            return (network(inputs[rows]) + torch.randn(len(rows), 4, generator=random)).square().mean()

        average = fit(network, loss_of, len(inputs), Plan(4, 8, 1e-2, 0.01, 7, checkpoint))
        with torch.inference_mode():
            return average(inputs)

    whole = trained(tmp_path / "whole.pt")
    with pytest.raises(Stopped):
        trained(tmp_path / "broken.pt", stop_at=13)
    torch.testing.assert_close(trained(tmp_path / "broken.pt"), whole, rtol=0.0, atol=0.0)


def test_the_average_of_a_short_training_has_forgotten_its_start(tmp_path: Path) -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(network.weight, 1.0)

    def loss_of(rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        return network(torch.ones(len(rows), 1)).square().mean()

    average = fit(network, loss_of, 60, Plan(10, 10, 0.2, 0.0, 1, tmp_path / "checkpoint.pt"))
    assert abs(average(torch.ones(1, 1)).item()) < 0.1


def test_the_rate_rises_and_falls_to_nothing() -> None:
    shares = [rate_share(step, 100) for step in range(100)]
    assert max(shares) == pytest.approx(1.0, abs=0.01)
    assert int(np.argmax(shares)) in range(9, 12)
    assert shares[-1] < 0.01 < shares[0] < 0.2


def test_a_network_learns_from_what_it_is_served() -> None:
    crop = np.random.default_rng(2).integers(0, 256, (2, 144, 144, 3), dtype=np.uint8)
    learned = as_served(torch.from_numpy(grey_crops(crop)))
    network = torch.nn.Identity()
    served = ServedRecogniser(network, lambda pictures: (pictures.flatten(1)[:, :8], pictures), 1.0)
    # The square is the middle 112 of the cached 144 pixels.
    seen = served(torch.from_numpy(crop[:, 16:128, 16:128].copy()))[1]
    torch.testing.assert_close(seen, learned, atol=0.5 / pixel_scale(), rtol=0.0)


def pixel_scale() -> float:
    from training.pixel_faces import SPREAD

    return SPREAD


def test_masks_move_with_their_pixels() -> None:
    random = torch.Generator().manual_seed(4)
    grey = torch.zeros(6, MARGIN_SIDE, MARGIN_SIDE, dtype=torch.uint8)
    grey[:, 30:40, 20:34] = 255
    maps = affine_maps(6, random)
    pixels = moved(grey[:, None].float(), maps, SIDE)[:, 0] > 127
    masks = moved((grey > 0)[:, None].float(), maps, SIDE, "nearest")[:, 0] > 0.5
    assert (pixels == masks).float().mean() > 0.98


def test_faces_are_augmented_in_range_and_not_twice_alike() -> None:
    grey = torch.randint(0, 256, (8, MARGIN_SIDE, MARGIN_SIDE), dtype=torch.uint8)
    random = torch.Generator().manual_seed(4)
    first, second = [augmented(grey, affine_maps(8, random), random) for _ in range(2)]
    assert first.shape == (8, 1, SIDE, SIDE)
    assert (first - second).abs().mean() > 0.1
    assert first.min() >= -2.0
    assert first.max() <= 2.0


def test_options_name_a_checkpoint_each() -> None:
    from training.pixel_recipe import plan_of

    def path(*words: str) -> str:
        arguments: argparse.Namespace = dan.parse(list(words))
        return plan_of("dan", arguments).checkpoint.name

    assert path() != path("--heads", "2") != path("--no-partition")
    assert path() == path("--figures-only")
    assert path() != path("--data", "sfew=a/b") != path("--data", "sfew=a/c")


def test_bfloat16_is_used_where_the_processor_has_it() -> None:
    with pixel_training.in_bfloat16():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    expected = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32
    assert product.dtype is expected
