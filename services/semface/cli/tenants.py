"""`semface tenants`: the key ring and what hangs on it. The settings are those of the gateway."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

import typer

from semface.cli.output import Json, show
from semface.gateway.enrolled.key_ring import new_master_key
from semface.gateway.enrolled.rotation import SETTLE_SECONDS
from semface.gateway.enrolled.store import EnrolledStore, StreamLengths
from semface.gateway.server import configured_ring
from semface.gateway.settings import GatewaySettings

app = typer.Typer(
    no_args_is_help=True,
    help="Make and erase tenants, rotate their keys, show their audit trail.",
    rich_markup_mode=None,
)

Tenant = Annotated[str, typer.Argument(help="Name of the tenant.", metavar="TENANT")]
Result = TypeVar("Result")


@app.callback()
def tenants() -> None:
    """Make and erase tenants, rotate their keys, show their audit trail."""


@app.command()
def master_key() -> None:
    """Print a new master key; keep it apart from the key ring and from Redis."""
    print(new_master_key())


@app.command("list")
def list_tenants(as_json: Json = False) -> None:
    """List the tenants of the key ring, and those that were erased."""
    ring = configured_ring(GatewaySettings())
    show({"tenants": ring.tenants(), "erased": ring.erased()}, as_json)


@app.command()
def create(tenant: Tenant, as_json: Json = False) -> None:
    """Give a tenant keys, where gateways may only read the ring."""
    configured_ring(GatewaySettings()).create(tenant)
    show({"tenant": tenant}, as_json)


@app.command()
def rotate(
    tenant: Tenant,
    destroy_old: Annotated[
        bool, typer.Option("--destroy-old", help="Forget the old keys: older snapshots of Redis open no more.")
    ] = False,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds until every gateway has read the changed ring.")
    ] = SETTLE_SECONDS,
    as_json: Json = False,
) -> None:
    """Seal and map every template under a new key. It can be stopped and started again."""
    from rich.console import Console
    from rich.progress import Progress

    from semface.gateway.enrolled.rotation import rotate as rotate_keys

    async def work(store: EnrolledStore) -> dict[str, Any]:
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("templates", total=None)
            done = await rotate_keys(
                store,
                tenant,
                destroy=destroy_old,
                settle_seconds=settle,
                progress=lambda count: bar.update(task, advance=count),
            )
        return {"key": done.key, "resealed": done.resealed, "old_keys": done.retired, "destroyed": destroy_old}

    show(_with_store(work), as_json)


@app.command()
def erase(
    tenant: Tenant, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False, as_json: Json = False
) -> None:
    """Erase a tenant for good: destroy its keys and delete all it has in Redis."""
    if not yes:
        typer.confirm(f"Erase {tenant} and everybody enrolled there, for good?", abort=True, err=True)

    async def work(store: EnrolledStore) -> dict[str, Any]:
        # Keys first: from here on nothing that is left anywhere, or comes back, can be read.
        if tenant not in store.ring.erased():
            store.ring.erase(tenant)
        await store.purge(tenant)
        return {"erased": tenant}

    show(_with_store(work), as_json)


@app.command()
def audit(
    tenant: Tenant,
    limit: Annotated[int, typer.Option(min=1, help="How many entries.")] = 100,
    subject: Annotated[str | None, typer.Option(help="Only what was done to this subject.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was done last, the newest first."""

    async def work(store: EnrolledStore) -> dict[str, Any]:
        wanted = store.protection(tenant).pseudonym(subject).hex() if subject else None
        trail = await store.audit_trail(tenant, limit)
        entries = [{"at": int(number.partition("-")[0]) / 1000, **fields} for number, fields in trail]
        return {"entries": [entry for entry in entries if wanted in (None, entry["subject"])]}

    show(_with_store(work), as_json)


def _with_store(work: Callable[[EnrolledStore], Coroutine[Any, Any, Result]]) -> Result:
    settings = GatewaySettings()
    ring = configured_ring(settings)

    async def run() -> Result:
        streams = StreamLengths(settings.changes_kept, settings.audit_kept)
        url, seconds = settings.redis_url.get_secret_value(), settings.redis_timeout_seconds
        store = EnrolledStore(url, seconds, ring, streams, vector_sets=settings.vector_sets)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())
