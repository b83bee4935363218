"""A search finds the best of all, whether each template is compared whole or only those that a first pass leaves."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semface.gateway.enrolled import index as searching
from semface.gateway.enrolled.index import Entry, TemplateIndex
from semface.gateway.enrolled.screening import SLACK, Screen
from tests.gateway.enrolled.subjects import MODEL

Vectors = NDArray[np.float32]
PEOPLE = 600
TURNED = np.linalg.qr(np.random.default_rng(1).normal(size=(512, 512)))[0]


def people(count: int, seed: int, *, flat: bool = False) -> Vectors:
    """Return unit vectors (N, 512) that differ in some directions more than in others, unless they are ``flat``."""
    random = np.random.default_rng(seed)
    spread = np.ones(512) if flat else np.exp(-np.arange(512) / 50)
    vectors = random.normal(size=(count, 512)) * spread @ TURNED
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def entries(vectors: Vectors, first: int = 0) -> list[Entry]:
    codes = np.rint(vectors / np.abs(vectors).max(1, keepdims=True) * 127).astype(np.int8)
    return [
        Entry(
            number.to_bytes(16, "big"),
            f"s{number}",
            MODEL,
            row,
            1.0,
            time.time() - 1 if number % 11 == 5 else None,
            ("staff",) if number % 3 == 0 else (),
        )
        for number, row in enumerate(codes, first)
    ]


def other_pictures(vectors: Vectors, seed: int) -> Vectors:
    """Return what another picture of each person could be."""
    probes = vectors + 0.8 * people(len(vectors), seed)
    return (probes / np.linalg.norm(probes, axis=1, keepdims=True)).astype(np.float32)


def same(one: list[list[tuple[str, float]]], other: list[list[tuple[str, float]]]) -> bool:
    return all(
        [name for name, _ in mine] == [name for name, _ in yours]
        and np.allclose([score for _, score in mine], [score for _, score in yours], atol=1e-5)
        for mine, yours in zip(one, other, strict=True)
    )


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    flat=st.booleans(),
    threshold=st.sampled_from([-1.0, 0.2, 0.5]),
    top=st.sampled_from([1, 5, 100]),
    few=st.sampled_from([1, 100, 2048]),
    gone=st.sets(st.integers(0, PEOPLE - 1), max_size=60),
)
def test_a_first_pass_loses_nobody(seed: int, flat: bool, threshold: float, top: int, few: int, gone: set[int]) -> None:
    vectors = people(PEOPLE, seed, flat=flat)
    whole, screened = TemplateIndex(), TemplateIndex(exact_limit=300)
    with pytest.MonkeyPatch.context() as patch:
        # So that the way of many is gone with few.
        patch.setattr(searching, "FEW", few)
        patch.setattr(searching, "FIRST_COMPARED", min(few, 16) - 1)
        for index in (whole, screened):
            index.add(entries(vectors[:310]))
            index.add(entries(vectors[310:], 310))
            for number in sorted(gone):
                index.remove(number.to_bytes(16, "big"))
        assert (whole.screened, screened.screened) == (False, True)
        probes = other_pictures(vectors[::29], seed + 1)
        for group in (None, "staff"):
            found = screened.search(probes, threshold, top, group)
            assert same(found, whole.search(probes, threshold, top, group))
        assert not {name for one in found for name, _ in one} & {f"s{number}" for number in gone}


@pytest.mark.parametrize("flat", [False, True])
def test_no_cosine_is_above_its_bound(flat: bool) -> None:
    vectors, probes = people(PEOPLE, 3, flat=flat), people(50, 4, flat=True)
    screen = Screen.fitted(vectors[:100], PEOPLE)
    screen.put(0, vectors)
    assert (screen.bounds(PEOPLE, probes) - probes @ vectors.T).min() >= SLACK / 2
    own = screen.bounds(PEOPLE, vectors).diagonal()
    assert (own >= 1).all()


def test_of_templates_that_differ_in_few_directions_few_are_compared_whole() -> None:
    vectors = people(20_000, 5)
    screen = Screen.fitted(vectors, len(vectors))
    screen.put(0, vectors)
    (bounds,) = screen.bounds(len(vectors), other_pictures(vectors[:1], 6))
    assert np.count_nonzero(bounds >= 0.5) < 200


def test_who_is_erased_leaves_nothing_in_memory() -> None:
    index = TemplateIndex(exact_limit=10)
    index.add(entries(people(20, 7)))
    for number in range(20):
        assert index.remove(number.to_bytes(16, "big"))
    assert index.screened
    assert all(not column[:20].any() for column in index._columns() if column is not index._expires)
    index.add(entries(people(3, 8)))
    assert [one[0][0] for one in index.search(people(3, 8), 0.9, 1, None)] == ["s0", "s1", "s2"]


@pytest.mark.parametrize("screened", [False, True])
def test_an_index_that_grows_stays_right_and_tells_everything_that_is_in_it(screened: bool) -> None:
    index = TemplateIndex(exact_limit=100 if screened else searching.UNLIMITED)
    vectors = people(searching.FIRST_CAPACITY + 200, 9)
    told = entries(vectors)
    for start in range(0, len(told), 300):
        index.add(told[start : start + 300])
    index.add([])
    assert (len(index), index.screened) == (len(told), screened)
    alive = [number for number in range(0, len(told), 97) if told[number].expires_at is None]
    found = index.search(vectors[alive], 0.9, 1, None)
    assert [one[0][0] for one in found] == [f"s{number}" for number in alive]
    parts = list(index.entries_in_parts(500))
    assert [len(part) for part in parts] == [500, 500, len(told) - 1000]
    for kept, given_ in zip((entry for part in parts for entry in part), told, strict=True):
        assert (kept.pseudonym, kept.subject, kept.model, kept.groups, kept.expires_at) == (
            given_.pseudonym,
            given_.subject,
            given_.model,
            given_.groups,
            given_.expires_at,
        )
        assert np.array_equal(kept.codes, given_.codes)
