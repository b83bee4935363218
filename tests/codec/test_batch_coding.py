"""Coding many faces in step: the same bytes as one by one, the same refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semface.codec.batch_coding import DamagedPayload, decode_batch, encode_batch
from semface.codec.entropy import FEW_TO_DECODE, FEW_TO_ENCODE, FREQUENCY_TOTAL, FrequencyTables
from semface.errors import SemfaceError
from tests.codec.test_entropy import random_tables

BATCH = 40


@st.composite
def batches(draw: st.DrawFn) -> tuple[FrequencyTables, NDArray[np.int32]]:
    """Tables and a batch of symbols: likely ones, any in range, or extremes that make long carries."""
    seed, count = draw(st.integers(0, 2**32)), draw(st.integers(1, 90))
    symbols, spread = draw(st.integers(2, 300)), draw(st.sampled_from([1e-3, 0.05, 1.0, 100.0]))
    tables, random = random_tables(seed, count, symbols, spread), np.random.default_rng(seed)
    drawn = random.integers(0, FREQUENCY_TOTAL, (BATCH, count, 1))
    values = {
        "likely": (tables.cumsum(axis=1) <= drawn).sum(axis=2),
        "any": random.integers(0, symbols, (BATCH, count)),
        "first": np.zeros((BATCH, count)),
        "last": np.full((BATCH, count), symbols - 1),
    }[draw(st.sampled_from(["likely", "any", "first", "last"]))]
    return FrequencyTables(tables), values.astype(np.int32)


@given(batches())
@settings(max_examples=60, deadline=None)
def test_a_batch_codes_to_the_bytes_of_each_face_alone(case: tuple[FrequencyTables, NDArray[np.int32]]) -> None:
    tables, symbols = case
    payloads = encode_batch(tables.bounds, symbols)
    assert payloads == [tables.encode(row) for row in symbols]
    np.testing.assert_array_equal(decode_batch(tables.bounds, payloads), symbols)


@given(batches(), st.data())
@settings(max_examples=80, deadline=None)
def test_a_batch_refuses_exactly_what_is_refused_alone(
    case: tuple[FrequencyTables, NDArray[np.int32]], data: st.DataObject
) -> None:
    tables, symbols = case
    payloads = encode_batch(tables.bounds, symbols)
    place = data.draw(st.integers(0, BATCH - 1))
    whole = payloads[place]
    payloads[place] = data.draw(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from([whole + b"\0", whole + b"\1", whole[:-1], whole[:-2] + b"\x80"]),
            st.integers(0, 255).map(lambda value: whole[:-1] + bytes((value,))),
        )
    )
    try:
        alone = tables.decode(payloads[place])
    except SemfaceError:
        with pytest.raises(DamagedPayload) as damaged:
            decode_batch(tables.bounds, payloads)
        assert damaged.value.index == place
    else:
        np.testing.assert_array_equal(decode_batch(tables.bounds, payloads)[place], alone)


@pytest.mark.parametrize("count", [1, FEW_TO_DECODE - 1, FEW_TO_DECODE, FEW_TO_ENCODE - 1, FEW_TO_ENCODE])
def test_however_many_are_coded_together_the_bytes_and_the_refusals_are_the_same(count: int) -> None:
    random = np.random.default_rng(count)
    tables = FrequencyTables(random_tables(3, 20, 9, 1.0))
    symbols = random.integers(0, 9, (count, 20)).astype(np.int32)
    payloads = tables.encode_all(symbols)
    assert payloads == [tables.encode(row) for row in symbols]
    np.testing.assert_array_equal(tables.decode_all(payloads), symbols)
    payloads[-1] += b"\0"
    with pytest.raises(DamagedPayload) as damaged:
        tables.decode_all(payloads)
    assert damaged.value.index == count - 1
