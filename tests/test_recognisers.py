"""What is held of the recognisers by name, and how what they look at travels."""

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import CROP_SIZE
from semface.extraction.scans.attribute_images import CHANNELS
from semface.meaning import EXPRESSIONS, SCAN_EXPRESSIONS
from semface.recognisers import DEFAULT_RECOGNISER, RECOGNISERS, Recogniser, Seen, find_recogniser

SCANS = Recogniser("scans", Seen.ATTRIBUTE_IMAGES, "attribute_images", (8, 4, 4), "float32", ("open", "shut"))


def test_no_name_asks_for_the_recogniser_that_reads_what_travels() -> None:
    assert find_recogniser("") is DEFAULT_RECOGNISER
    assert DEFAULT_RECOGNISER.sees is Seen.DESCRIPTORS


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(SemfaceError, match="dan") as refused:
        find_recogniser("deepface")
    assert (refused.value.reason, refused.value.field) == (Reason.MODEL_UNKNOWN, "model")


def test_pixels_and_scans_are_seen_as_extraction_draws_them() -> None:
    for recogniser in RECOGNISERS.values():
        assert recogniser.classes == (SCAN_EXPRESSIONS if recogniser.sees is Seen.ATTRIBUTE_IMAGES else EXPRESSIONS)
        if recogniser.sees is Seen.CROP:
            assert (recogniser.shape, recogniser.dtype) == ((CROP_SIZE, CROP_SIZE, 3), "uint8")
        if recogniser.sees is Seen.ATTRIBUTE_IMAGES:
            assert (recogniser.shape, recogniser.dtype) == ((len(CHANNELS), CROP_SIZE, CROP_SIZE), "float32")


@pytest.mark.parametrize("recogniser", [RECOGNISERS["dan"], SCANS])
def test_what_is_packed_comes_out_as_it_was(recogniser: Recogniser) -> None:
    view = np.random.default_rng(0).uniform(0, 255, recogniser.shape).astype(recogniser.dtype)
    unpacked = recogniser.unpack(recogniser.pack(view), "face")
    np.testing.assert_array_equal(unpacked, view)
    assert unpacked.dtype == view.dtype


def test_another_length_and_what_is_not_finite_are_refused() -> None:
    data = SCANS.pack(np.ones(SCANS.shape, np.float32))
    for wrong in (b"", data[:-1], data + b"0"):
        with pytest.raises(SemfaceError, match="8 × 4 × 4") as refused:
            SCANS.unpack(wrong, "face.attribute_images")
        assert (refused.value.reason, refused.value.field) == (Reason.DESCRIPTOR_SHAPE, "face.attribute_images")
    with pytest.raises(SemfaceError) as refused:
        SCANS.unpack(np.full(SCANS.shape, np.nan, "<f4").tobytes(), "face")
    assert refused.value.reason is Reason.NOT_FINITE
