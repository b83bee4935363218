import asyncio
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from semface.cli.embedded_store import embedded_store
from semface.client import AsyncClient, Embedding, Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrollment import Enrollment
from semface.gateway.store import Template, TemplateStore
from tests.running import System


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_store(None) as running:
        yield running


@pytest.fixture
async def store(url: str) -> AsyncIterator[TemplateStore]:
    connected = TemplateStore(url, 30.0, tenant="tests")
    yield connected
    for subject in await connected.all():
        await connected.delete(subject)
    await connected.close()


def template(seed: int, model: str = "face_verification") -> Template:
    vector = np.random.default_rng(seed).normal(size=512).astype(np.float32)
    return Template(vector / np.linalg.norm(vector), model, "1", 2**64 - 1, 1.5e9 + seed)


async def test_a_template_comes_back_as_it_was(store: TemplateStore) -> None:
    kept = template(1)
    assert await store.put("a", kept) is True
    assert await store.put("a", kept) is False
    found = await store.get("a")
    assert found is not None
    assert (found.embedding == kept.embedding).all()
    assert (found.model, found.version, found.hash, found.enrolled_at) == (
        kept.model,
        kept.version,
        kept.hash,
        kept.enrolled_at,
    )


async def test_another_tenants_subject_looks_absent(store: TemplateStore, url: str) -> None:
    await store.put("a", template(1))
    other = TemplateStore(url, 2.0, tenant="others")
    assert await other.get("a") is None
    assert await other.all() == {}
    assert await other.delete("a") is False
    await other.close()
    assert await store.get("a") is not None


async def test_erasing_leaves_nothing(store: TemplateStore) -> None:
    await store.put("a", template(1))
    assert await store.delete("a") is True
    assert await store._redis.keys("*{tests}*") == []


async def test_many_enrolled_at_once_are_all_there(store: TemplateStore) -> None:
    await asyncio.gather(*(store.put(f"s{number}", template(number)) for number in range(1200)))
    found = await store.all()
    assert len(found) == 1200
    assert (found["s1111"].embedding == template(1111).embedding).all()


async def test_a_stopped_server_is_away_and_a_restarted_one_is_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("data")
    with embedded_store(data) as running:
        store = TemplateStore(running, 2.0)
        await store.put("a", template(1))
        await store.close()
    with pytest.raises(SemfaceError) as away:
        await TemplateStore(running, 2.0).get("a")
    assert away.value.reason is Reason.BACKEND_AWAY
    with embedded_store(data) as running:
        store = TemplateStore(running, 2.0)
        assert await store.get("a") is not None
        await store.close()


async def test_a_full_server_is_told_as_full(store: TemplateStore) -> None:
    await store._redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(SemfaceError) as full:
            await store.put("a", template(1))
        assert full.value.reason is Reason.STORE_FULL
    finally:
        await store._redis.config_set("maxmemory", "0")


async def test_templates_of_another_model_are_a_mismatch_not_a_miss(store: TemplateStore, system: System) -> None:
    async with AsyncClient(system.grpc) as understanding:
        enrollment = Enrollment(store, understanding)
        probe = await understanding.embed(np.ones(257, np.float32))
        await enrollment.enroll("ours", probe)
        (found,) = await enrollment.identify([probe], "far_1e-2", 5)
        assert [match.subject for match in found.matches] == ["ours"]
        await enrollment.enroll("theirs", Embedding(probe.vector, Model("face_verification", "0", 1)))
        with pytest.raises(SemfaceError) as identified:
            await enrollment.identify([probe], "far_1e-2", 5)
        assert identified.value.reason is Reason.MODEL_MISMATCH
        frame = (await understanding.encode(np.ones(257, np.float32))).frames[0].data
        with pytest.raises(SemfaceError) as verified:
            await enrollment.verify(await enrollment.template("theirs"), frame, 0, "far_1e-2")
        assert verified.value.reason is Reason.MODEL_MISMATCH


async def test_the_best_match_comes_first_and_strangers_do_not_come(store: TemplateStore, system: System) -> None:
    async with AsyncClient(system.grpc) as understanding:
        enrollment = Enrollment(store, understanding)
        probe = await understanding.embed(np.ones(257, np.float32))
        noise = np.random.default_rng(3).normal(size=(3, 512))
        for name, share in (("far", 10.0), ("near", 0.02), ("nearest", 0.01)):
            mixed = probe.vector + share * noise[0]
            vector = (mixed / np.linalg.norm(mixed)).astype(np.float32)
            await enrollment.enroll(name, Embedding(vector, probe.model))
        (found,) = await enrollment.identify([probe], "far_1e-2", 5)
        assert [match.subject for match in found.matches] == ["nearest", "near"]
        assert found.compared == 3
        assert all(match.score >= found.threshold for match in found.matches)


async def reads(store: TemplateStore) -> int:
    """Return how often the server was asked for a template, since it started."""
    told = await store._redis.info("commandstats")
    return int(told.get("cmdstat_hmget", {"calls": 0})["calls"])


async def test_the_faces_of_one_request_share_one_reading_of_the_templates(
    store: TemplateStore, system: System
) -> None:
    async with AsyncClient(system.grpc) as understanding:
        enrollment = Enrollment(store, understanding)
        first, second = [await understanding.embed(sign * np.ones(257, np.float32)) for sign in (1, -1)]
        assert first.vector @ second.vector < 0.5
        await enrollment.enroll("first", first)
        await enrollment.enroll("second", second)
        before = await reads(store)
        found = await enrollment.identify([first, second, first], "far_1e-2", 5)
        assert await reads(store) - before == 2
    assert [[match.subject for match in one.matches] for one in found] == [["first"], ["second"], ["first"]]
    assert [one.compared for one in found] == [2, 2, 2]


async def test_of_nobody_nothing_is_read(store: TemplateStore, system: System) -> None:
    await store.put("a", template(1))
    before = await reads(store)
    async with AsyncClient(system.grpc) as understanding:
        assert await Enrollment(store, understanding).identify([], "far_1e-2", 5) == []
    assert await reads(store) == before
