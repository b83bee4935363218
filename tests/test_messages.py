"""Vectors and enums cross the wire unchanged, and what is wrong with them is named."""

import struct

import numpy as np
import pytest

from semface.descriptors import GROUPS, Portion
from semface.errors import Reason, SemfaceError
from semface.messages import (
    pack_descriptors,
    pack_model,
    pack_portions,
    pack_vector,
    require_items,
    unpack_all_descriptors,
    unpack_descriptors,
    unpack_portions,
    unpack_vector,
)
from semface.v1 import descriptors_pb2

FACE = np.random.default_rng(7).normal(size=257).astype(np.float32)


def test_a_vector_is_little_endian_float32() -> None:
    assert pack_vector([1.5, -2.0]) == struct.pack("<2f", 1.5, -2.0)
    assert unpack_vector(struct.pack("<2f", 1.5, -2.0), 2, "v").tolist() == [1.5, -2.0]


def test_descriptors_come_back_bit_for_bit() -> None:
    values, portions = unpack_descriptors(pack_descriptors(FACE), "face")
    assert values.tobytes() == FACE.tobytes()
    assert portions is Portion.ALL


def test_only_the_portions_asked_for_travel() -> None:
    message = pack_descriptors(FACE, Portion.IDENTITY | Portion.ILLUMINATION)
    values, portions = unpack_descriptors(message, "face")
    assert portions == Portion.IDENTITY | Portion.ILLUMINATION
    assert message.expression == b""
    assert not values[GROUPS["expression"]].any()
    assert values[GROUPS["texture"]].tolist() == FACE[GROUPS["texture"]].tolist()


def test_a_portion_with_a_group_missing_is_absent() -> None:
    message = pack_descriptors(FACE)
    message.ClearField("rotation")
    assert unpack_descriptors(message, "face")[1] == Portion.IDENTITY | Portion.ILLUMINATION


@pytest.mark.parametrize(
    ("group", "data", "reason"),
    [
        ("shape", bytes(4 * 79), Reason.DESCRIPTOR_SHAPE),
        ("illumination", bytes(4 * 27 + 1), Reason.DESCRIPTOR_SHAPE),
        ("rotation", struct.pack("<3f", 0, float("nan"), 0), Reason.NOT_FINITE),
        ("translation", struct.pack("<3f", 0, float("-inf"), 0), Reason.NOT_FINITE),
        ("translation", struct.pack("<3f", 0, -1.1e6, 0), Reason.FIELD_INVALID),
    ],
)
def test_a_bad_group_is_named_with_its_place_in_the_batch(group: str, data: bytes, reason: Reason) -> None:
    bad = pack_descriptors(FACE)
    setattr(bad, group, data)
    with pytest.raises(SemfaceError) as caught:
        unpack_all_descriptors([pack_descriptors(FACE), bad], "faces")
    assert caught.value.reason is reason
    assert caught.value.field == f"faces[1].{group}"


def test_portions_keep_their_meaning_and_none_means_all() -> None:
    for number in range(1, 8):
        assert unpack_portions(pack_portions(Portion(number)), "portions") == Portion(number)
    assert unpack_portions([], "portions") is Portion.ALL


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [([1, 0], Reason.ENUM_UNSPECIFIED), ([1, 9], Reason.FIELD_INVALID), ([1, 1], Reason.FIELD_INVALID)],
)
def test_a_bad_portion_is_named(numbers: list[int], reason: Reason) -> None:
    with pytest.raises(SemfaceError) as caught:
        unpack_portions(numbers, "portions")
    assert (caught.value.reason, caught.value.field) == (reason, "portions[1]")


@pytest.mark.parametrize("count", [0, 5])
def test_a_batch_has_items_and_not_too_many(count: int) -> None:
    with pytest.raises(SemfaceError, match="1 to 4") as caught:
        require_items(count, "faces", 4)
    assert caught.value.reason is Reason.FIELD_INVALID


def test_a_models_hash_is_the_beginning_of_its_sha256() -> None:
    model = pack_model("face_verification", "1", "00000000000000ff" + "a" * 48, "triton")
    assert model == descriptors_pb2.Model(name="face_verification", version="1", hash=255, engine="triton")
