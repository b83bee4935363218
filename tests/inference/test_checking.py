from pathlib import Path

from semface.inference.checking import check_model
from semface.inference.embedded import EmbeddedEngine
from semface.inference.repository import ModelRepository
from tests.inference.networks import DOUBLED, add_leaking_model, add_model


async def problems(root: Path, name: str) -> str:
    """Return what is found wrong, with a model card in place."""
    (root / name / "card.md").write_text("# A card")
    engine = EmbeddedEngine(root)
    try:
        return "\n".join(await check_model(engine, ModelRepository(root), name))
    finally:
        await engine.close()


async def test_a_network_that_is_what_it_says_passes(tmp_path: Path) -> None:
    add_model(tmp_path, "double")
    assert await problems(tmp_path, "double") == ""


async def test_a_row_that_changes_with_its_neighbours_is_found(tmp_path: Path) -> None:
    add_leaking_model(tmp_path, "leaking")
    assert "changes with the rows beside it" in await problems(tmp_path, "leaking")


async def test_a_configuration_that_differs_from_the_network_is_found(tmp_path: Path) -> None:
    add_model(tmp_path, "double", tensors=DOUBLED.replace('"y"', '"z"'))
    assert "its configuration says" in await problems(tmp_path, "double")


async def test_an_answer_that_is_not_finite_is_found(tmp_path: Path) -> None:
    add_model(tmp_path, "double", factor=float("inf"))
    assert "not finite" in await problems(tmp_path, "double")


async def test_a_network_that_does_not_load_is_found(tmp_path: Path) -> None:
    add_model(tmp_path, "double").write_bytes(b"no network")
    assert "cannot be run" in await problems(tmp_path, "double")


async def test_a_missing_card_is_found(tmp_path: Path) -> None:
    add_model(tmp_path, "double")
    engine = EmbeddedEngine(tmp_path)
    assert await check_model(engine, ModelRepository(tmp_path), "double") == ["has no card.md"]
    await engine.close()
