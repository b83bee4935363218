"""The range coder: exact, short, and of one form only."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semface.codec.entropy import FREQUENCY_TOTAL, FrequencyTables
from semface.errors import Reason, SemfaceError
from tests.codec.plain_decoder import Refused, read_symbols

MOST_EXCESS_BITS = 8.01
"""A payload is at most a byte longer than ideal; the hundredth is what 24-bit arithmetic loses."""


def random_tables(seed: int, count: int, symbols: int, spread: float) -> NDArray[np.int64]:
    """Return ``count`` tables: nearly all mass on one symbol for a small ``spread``, nearly flat for a large one."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(symbols, spread), size=count)
    tables = 1 + np.floor(shares * (FREQUENCY_TOTAL - symbols)).astype(np.int64)
    tables[np.arange(count), tables.argmax(axis=1)] += FREQUENCY_TOTAL - tables.sum(axis=1)
    return tables


@st.composite
def coded(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Tables and symbols: likely ones, or any in range."""
    seed, count = draw(st.integers(0, 2**32)), draw(st.integers(0, 160))
    symbols, spread = draw(st.integers(2, 256)), draw(st.sampled_from([1e-3, 0.05, 1.0, 100.0]))
    tables = random_tables(seed, count, symbols, spread)
    random = np.random.default_rng(seed)
    if draw(st.booleans()):
        values = random.integers(0, symbols, count)
    else:
        values = (tables.cumsum(axis=1) <= random.integers(0, FREQUENCY_TOTAL, (count, 1))).sum(axis=1)
    return tables, values.astype(np.int32)


@given(coded())
@settings(max_examples=150, deadline=None)
def test_any_integers_in_range_come_back(case: tuple[NDArray[np.int64], NDArray[np.int32]]) -> None:
    tables, symbols = FrequencyTables(case[0]), case[1]
    np.testing.assert_array_equal(tables.decode(tables.encode(symbols)), symbols)


@given(coded())
@settings(max_examples=100, deadline=None)
def test_a_decoder_in_whole_numbers_reads_the_same(case: tuple[NDArray[np.int64], NDArray[np.int32]]) -> None:
    tables, symbols = case
    payload = FrequencyTables(tables).encode(symbols)
    assert read_symbols(payload, tables.tolist()) == symbols.tolist()


@given(coded())
@settings(max_examples=150, deadline=None)
def test_a_payload_is_at_most_a_byte_above_its_ideal_size(case: tuple[NDArray[np.int64], NDArray[np.int32]]) -> None:
    tables, symbols = FrequencyTables(case[0]), case[1]
    assert 8 * len(tables.encode(symbols)) - tables.ideal_bits(symbols) < MOST_EXCESS_BITS


@given(coded())
@settings(max_examples=50, deadline=None)
def test_no_shorter_byte_string_says_the_same(case: tuple[NDArray[np.int64], NDArray[np.int32]]) -> None:
    tables, symbols = case
    payload = FrequencyTables(tables).encode(symbols)
    if not payload:
        return
    # Of all strings one byte shorter only the two nearest could lie in the same interval.
    below = int.from_bytes(payload[:-1])
    for value in (below, below + 1):
        if value < 1 << 8 * (len(payload) - 1):
            shorter = value.to_bytes(len(payload) - 1)
            with suppress(Refused):
                assert read_symbols(shorter, tables.tolist()) != symbols.tolist()


@given(coded(), st.binary(max_size=80))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_or_are_what_their_symbols_code_to(
    case: tuple[NDArray[np.int64], NDArray[np.int32]], payload: bytes
) -> None:
    tables = FrequencyTables(case[0])
    with suppress(SemfaceError):
        assert tables.encode(tables.decode(payload)) == payload


@given(coded())
@settings(max_examples=50, deadline=None)
def test_a_payload_with_zeros_after_it_is_refused(case: tuple[NDArray[np.int64], NDArray[np.int32]]) -> None:
    tables, symbols = FrequencyTables(case[0]), case[1]
    with pytest.raises(SemfaceError) as refused:
        tables.decode(tables.encode(symbols) + b"\0")
    assert refused.value.reason is Reason.BITSTREAM_CORRUPT


def test_likely_symbols_cost_little_and_the_mean_is_near_the_entropy() -> None:
    tables = FrequencyTables(random_tables(1, 160, 64, 0.05))
    frequencies = random_tables(1, 160, 64, 0.05)
    random = np.random.default_rng(2)
    draws = (frequencies.cumsum(axis=1) <= random.integers(0, FREQUENCY_TOTAL, (500, 160, 1))).sum(axis=2)
    bits = sum(8 * len(tables.encode(row.astype(np.int32))) for row in draws)
    assert bits / tables.ideal_bits(draws.astype(np.int32)) < 1.02


@pytest.mark.parametrize(
    "frequencies",
    [
        np.full((3, 4), FREQUENCY_TOTAL // 4 + 1),
        np.array([[FREQUENCY_TOTAL, 0]]),
        np.array([[FREQUENCY_TOTAL]]),
        np.full((2, 2), 0.5),
        np.full(2, FREQUENCY_TOTAL // 2),
    ],
    ids=["another sum", "zero entry", "one symbol", "floats", "one axis"],
)
def test_tables_that_are_not_exact_are_refused(frequencies: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="frequenc"):
        FrequencyTables(frequencies)
