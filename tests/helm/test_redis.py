"""The chart's Redis, run as it is deployed: its configuration, users and certificates, its probe, its backup."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from pydantic import SecretStr

from semface.operations.secrets import chart_secrets
from tests.gateway.enrolled.servers import free_port, needs_redis, until
from tests.gateway.gateways import gateway
from tests.helm.chart import CHART, NAMESPACE, Document, of_kind, rendered
from tests.running import System

pytestmark = [pytest.mark.helm, needs_redis]


def certificates(folder: Path) -> None:
    """Make what cert-manager would put into the Secret of Redis."""
    subject, name = ["-subj", "/CN=semface"], "subjectAltName=DNS:localhost,IP:127.0.0.1"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command = ["openssl", "req", "-x509", "-days", "1", *subject, *key, "-addext", name]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")


class ChartRedis:
    """A Redis started with the files that the chart mounts, moved into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        secrets = {one["metadata"]["name"]: one["stringData"] for one in chart_secrets(NAMESPACE)}
        self.secret = secrets["semface-redis"]
        (folder / "data").mkdir(exist_ok=True)
        (folder / "users.acl").write_text(self.secret["users.acl"])
        certificates(folder)
        config = next(one for one in of_kind(rendered(), "ConfigMap") if "redis.conf" in one["data"])
        text = self.moved(config["data"]["redis.conf"]).replace("tls-port 6379", f"tls-port {self.port}")
        (folder / "redis.conf").write_text(f"{text}\nbind 127.0.0.1\n")
        self.process: subprocess.Popen[bytes] | None = None

    def moved(self, text: str) -> str:
        for mounted in ("/etc/semface/tls", "/etc/semface/users"):
            text = text.replace(mounted, str(self.folder))
        return text.replace("dir /data", f"dir {self.folder}/data")

    def start(self) -> None:
        command = ["redis-server", str(self.folder / "redis.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        until(lambda: bool(self.client("probe", "none").ping()))

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)

    def client(self, user: str, password: str) -> Any:
        trusted = str(self.folder / "ca.crt")
        return redis.Redis(
            port=self.port, username=user, password=password, ssl=True, ssl_ca_certs=trusted, socket_timeout=2
        )

    def url(self) -> str:
        """Return the gateway's URL as the chart composes it."""
        deployment = next(
            one for one in of_kind(rendered(), "Deployment") if one["metadata"]["name"] == "semface-gateway"
        )
        entries = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        text: str = next(one["value"] for one in entries if one["name"] == "SEMFACE_REDIS_URL")
        text = text.replace("$(REDIS_PASSWORD)", self.secret["password"])
        return self.moved(text.replace("semface-redis:6379", f"localhost:{self.port}"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ChartRedis]:
    running = ChartRedis(tmp_path)
    running.start()
    try:
        yield running
    finally:
        running.stop()


async def enrol(client: httpx.AsyncClient, portrait: bytes) -> int:
    headers = {"Content-Type": "image/jpeg"}
    return (await client.put("/v1/subjects/4711", content=portrait, headers=headers)).status_code


def backup(served: ChartRedis, folder: Path, keep: int = 14) -> str:
    document = of_kind(rendered("values-gpu.yaml"), "CronJob")
    job: Document = next(one for one in document if one["metadata"]["name"] == "semface-redis-backup")
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    command = next(one["value"] for one in container["env"] if one["name"] == "REDIS")
    command = served.moved(command).replace("-h semface-redis", f"-h localhost -p {served.port}")
    environment = os.environ | {"REDIS": command, "REDISCLI_AUTH": served.secret["backup-password"]}
    script = container["command"][2]
    assert script == (CHART / "files" / "backup-redis.sh").read_text()
    done = subprocess.run(
        ["/bin/sh", "-c", script, "backup-redis", str(folder), str(keep)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


async def test_the_gateway_enrols_over_tls_with_the_rights_of_its_user_and_a_backup_restores(
    served: ChartRedis, system: System, portrait: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    url = SecretStr(served.url())
    async with gateway(system, redis_url=url) as client:
        assert (await client.get("/readyz")).json()["store"] is True
        assert await enrol(client, portrait) == 201
        name = backup(served, folder)
        assert (await client.delete("/v1/subjects/4711")).status_code == 204
        assert (await client.get("/v1/subjects/4711")).status_code == 404
        # The restore of docs/operations.md, step by step.
        served.stop()
        shutil.rmtree(served.folder / "data" / "appendonlydir")
        shutil.copy(folder / name, served.folder / "data" / "appendonly.aof")
        served.start()
        assert (await client.get("/v1/subjects/4711")).status_code == 200
        # It is an append-only file now: a further restart keeps it.
        served.stop()
        served.start()
        assert (await client.get("/v1/subjects/4711")).status_code == 200


def test_backups_beyond_what_is_kept_are_deleted(served: ChartRedis, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    for day in (1, 2, 3):
        (folder / f"semface-2026010{day}T000000Z.rdb").write_bytes(b"REDIS")
    name = backup(served, folder, keep=2)
    assert sorted(one.name for one in folder.glob("*.rdb")) == ["semface-20260103T000000Z.rdb", name]


def test_nobody_gets_in_without_a_user_and_the_probe_may_only_ping(served: ChartRedis) -> None:
    assert served.client("probe", "none").ping()
    with pytest.raises(redis.exceptions.NoPermissionError):
        served.client("probe", "none").get("semface:x")
    with pytest.raises(redis.exceptions.AuthenticationError):
        served.client("gateway", "guess").ping()
    with pytest.raises(redis.exceptions.AuthenticationError):
        served.client("default", "").ping()
    mine = served.client("gateway", served.secret["password"])
    for forbidden in (("FLUSHALL",), ("CONFIG", "GET", "*"), ("GET", "somebody:else"), ("KEYS", "*")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            mine.execute_command(*forbidden)
    with pytest.raises(redis.exceptions.ConnectionError):
        redis.Redis(port=served.port, socket_timeout=2).ping()


def test_the_probe_of_the_chart_is_what_the_server_answers(served: ChartRedis) -> None:
    container = of_kind(rendered(), "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
    command = [
        served.moved(part).replace("redis-cli", f"redis-cli -h localhost -p {served.port}")
        for part in container["readinessProbe"]["exec"]["command"]
    ]
    assert subprocess.run(command, timeout=10).returncode == 0
    served.stop()
    assert subprocess.run(command, timeout=10, capture_output=True).returncode != 0
    served.start()


def test_the_secrets_are_those_that_the_chart_names() -> None:
    printed = {one["metadata"]["name"]: set(one["stringData"]) for one in chart_secrets(NAMESPACE)}
    text = yaml.safe_dump_all(rendered("values-gpu.yaml"))
    assert printed.keys() == set(yaml.safe_load((CHART / "values.yaml").read_text())["secrets"].values()) - {""}
    for name in printed:
        assert name in text
