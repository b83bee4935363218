"""The codec over real networks: faces come back, portions stand alone, nothing breaks it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.codec.bitstream import MAX_FRAME_BYTES, drop
from semface.codec.core import Codec
from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, PORTION_SLICES, Portion
from semface.errors import Reason, SemfaceError
from semface.inference.embedded import EmbeddedEngine
from tests.codec.faces import faces, spread


def mean_error(received: NDArray[np.float32], sent: NDArray[np.float32]) -> float:
    """Return the mean absolute error in deviations; of illumination 24 of 27 numbers fit into the latents."""
    return float((np.abs(received - sent) / spread())[..., : GROUPS["illumination"].start].mean())


async def test_faces_come_back_closer_at_higher_quality_and_more_bits(codec: Codec) -> None:
    sent = faces(50)
    errors, sizes = [], []
    for quality in codec.prior.qualities:
        frames = await codec.encode(sent, quality.name)
        decoded = await codec.decode(frames)
        assert {face.quality.index for face in decoded} == {quality.index}
        errors.append(mean_error(np.array([face.descriptors for face in decoded]), sent))
        sizes.append(sum(map(len, frames)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1
    assert sizes == sorted(sizes)


async def test_a_target_in_bits_takes_the_finest_quality_that_fits_each_face(codec: Codec) -> None:
    sent = faces(30)
    sizes = np.array([[8 * len(frame) for frame in await codec.encode(sent, q.index)] for q in codec.prior.qualities])
    target = int(np.median(sizes))
    frames = await codec.encode(sent, bits=target)
    fits = sizes <= target
    expected = np.where(fits.any(axis=0), len(sizes) - 1 - fits[::-1].argmax(axis=0), 0)
    assert len(set(expected)) > 1
    assert [face.quality.index for face in await codec.decode(frames)] == expected.tolist()


async def test_a_target_that_no_quality_meets_takes_the_coarsest_and_a_large_one_the_finest(codec: Codec) -> None:
    sent = faces(3)
    assert await codec.encode(sent, bits=1) == await codec.encode(sent, 0)
    assert await codec.encode(sent, bits=8192) == await codec.encode(sent, codec.prior.qualities[-1].index)


async def test_a_target_and_a_quality_at_once_and_a_target_of_nothing_are_refused(codec: Codec) -> None:
    for options in ({"quality": "low", "bits": 300}, {"bits": 0}):
        with pytest.raises(SemfaceError) as refused:
            await codec.encode(faces(1), **options)
        assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "bits")


async def test_each_portion_decodes_alone_as_it_does_among_others(codec: Codec) -> None:
    sent = faces(1)
    whole = (await codec.decode(await codec.encode(sent)))[0]
    for portion in Portion.ALL:
        alone = (await codec.decode(await codec.encode(sent, portions=portion)))[0]
        assert alone.portions == portion
        where = PORTION_SLICES[portion]
        np.testing.assert_allclose(alone.descriptors[where], whole.descriptors[where], rtol=0, atol=1e-5)
        assert not np.delete(alone.descriptors, np.r_[where]).any()


async def test_a_relay_s_drop_is_the_encoder_s_choice(codec: Codec) -> None:
    whole = (await codec.encode(faces(1)))[0]
    identity = (await codec.encode(faces(1), portions=Portion.IDENTITY))[0]
    assert drop(whole, Portion.EXPRESSION | Portion.ILLUMINATION) == identity


async def test_a_face_codes_alike_alone_and_in_a_batch(codec: Codec) -> None:
    sent = faces(70)
    together = await codec.encode(sent)
    alone = [(await codec.encode(face))[0] for face in sent]
    assert together == alone
    for face, batched in zip(alone, await codec.decode(together), strict=True):
        np.testing.assert_array_equal((await codec.decode([face]))[0].descriptors, batched.descriptors)


async def test_coding_twice_changes_nothing_more(codec: Codec) -> None:
    first = await codec.encode(faces(20), "high")
    received = np.array([face.descriptors for face in await codec.decode(first)])
    again = await codec.decode(await codec.encode(received, "high"))
    assert mean_error(np.array([face.descriptors for face in again]), received) < 1e-3


@pytest.mark.parametrize("distance", [100, 1e6, 3e38])
async def test_numbers_far_outside_training_come_back_finite_and_clamped(codec: Codec, distance: float) -> None:
    signs = np.sign(faces(8))
    with np.errstate(over="ignore"):
        sent = np.nan_to_num(signs * np.float32(distance) * spread(), posinf=3e38, neginf=-3e38).astype(np.float32)
    for face in await codec.decode(await codec.encode(sent)):
        assert np.isfinite(face.descriptors).all()
        assert (np.abs(face.descriptors) / spread()).max() < 1000


async def test_every_flipped_bit_and_every_truncation_of_a_frame_is_refused(codec: Codec) -> None:
    frame = (await codec.encode(faces(1), "low"))[0]
    damaged = [(int.from_bytes(frame) ^ 1 << bit).to_bytes(len(frame)) for bit in range(8 * len(frame))]
    damaged += [frame[:length] for length in range(len(frame))]
    for one in damaged:
        with pytest.raises(SemfaceError) as refused:
            await codec.decode([one])
        assert refused.value.reason is Reason.BITSTREAM_CORRUPT


async def test_a_frame_with_two_bytes_more_is_refused(codec: Codec) -> None:
    frame = (await codec.encode(faces(1), "low", Portion.IDENTITY))[0]
    for tail in range(0, 1 << 16, 17):
        with pytest.raises(SemfaceError):
            await codec.decode([frame + tail.to_bytes(2)])


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", Reason.BITSTREAM_CORRUPT),
        (bytes(MAX_FRAME_BYTES), Reason.BITSTREAM_CORRUPT),
        (bytes(10_000_000), Reason.BITSTREAM_TOO_LARGE),
    ],
)
async def test_what_is_no_frame_is_refused_naming_its_place(codec: Codec, frame: bytes, reason: Reason) -> None:
    good = await codec.encode(faces(2))
    with pytest.raises(SemfaceError) as refused:
        await codec.decode([*good, frame])
    assert refused.value.reason is reason
    assert refused.value.field == "frames[2]"


async def test_nan_another_size_and_an_unknown_quality_are_refused(codec: Codec) -> None:
    broken = faces(1)
    broken[0, 3] = np.nan
    for values, quality, reason in (
        (broken, None, Reason.NOT_FINITE),
        (faces(1)[:, :256], None, Reason.DESCRIPTOR_SHAPE),
        (faces(1), "none of these", Reason.FIELD_INVALID),
    ):
        with pytest.raises(SemfaceError) as refused:
            await codec.encode(values, quality)
        assert refused.value.reason is reason
    with pytest.raises(SemfaceError, match="portion"):
        await codec.encode(faces(1), portions=Portion(0))


async def test_nothing_codes_to_nothing(codec: Codec) -> None:
    assert await codec.encode(np.zeros((0, DESCRIPTOR_SIZE), np.float32)) == []
    assert await codec.decode([]) == []


async def test_the_default_quality_can_be_set(codec: Codec, tiny_repository: Path) -> None:
    engine = EmbeddedEngine(tiny_repository)
    low = Codec(engine, tiny_repository, default_quality="low")
    assert await low.encode(faces(1)) == await codec.encode(faces(1), "low") != await codec.encode(faces(1))
    await engine.close()
