"""The paper's entropy coding: exact both ways, and as long as its formulas say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semface.evaluation import paper_coder

integers = st.lists(st.integers(-3000, 3000) | st.integers(-2, 2), max_size=256)


@pytest.mark.parametrize(
    ("value", "code"), [(0, "1"), (1, "010"), (-1, "011"), (2, "00100"), (-2, "00101"), (4, "0001000"), (-7, "0001111")]
)
def test_exponential_golomb_codes_are_the_standard_s(value: int, code: str) -> None:
    assert "".join(map(str, paper_coder.golomb_bits([value]))) == code


@given(integers)
@settings(max_examples=60, deadline=None)
def test_the_adaptive_model_gives_the_integers_back(values: list[int]) -> None:
    assert paper_coder.decode_order0(paper_coder.encode_order0(values), len(values)) == values


@given(integers)
@settings(max_examples=60, deadline=None)
def test_the_adaptive_model_takes_what_its_counts_say(values: list[int]) -> None:
    bits = paper_coder.golomb_bits(values)
    ones = sum(bits)
    # The probability of a string of bits is zeros! · ones! / (bits + 1)!, whatever their order.
    ideal = (math.lgamma(len(bits) + 2) - math.lgamma(ones + 1) - math.lgamma(len(bits) - ones + 1)) / math.log(2)
    assert 8 * len(paper_coder.encode_order0(values)) < ideal + 9


@given(integers)
@settings(max_examples=60, deadline=None)
def test_ppm_gives_the_integers_back(values: list[int]) -> None:
    pytest.importorskip("pyppmd", reason="PPMd is of the extra `paper`")
    assert paper_coder.decode_ppm(paper_coder.encode_ppm(values), len(values)) == values


def test_zeros_cost_the_adaptive_model_next_to_nothing() -> None:
    assert len(paper_coder.encode_order0(np.zeros(256, int))) <= 2
