"""The notes after an installation print a call that works for each entrance."""

import json
import re

import pytest
from google.protobuf import descriptor_pool, json_format, message_factory

from semface.v1 import codec_pb2, extraction_pb2, understanding_pb2
from tests.helm.chart import CHART, NAMESPACE, RELEASE, ROOT, VALUES_FILES, helm, rendered
from tests.helm.discovery import known_kinds

pytestmark = pytest.mark.helm
STUBS = (codec_pb2, extraction_pb2, understanding_pb2)
CALL = re.compile(r"-proto (\S+) -d '(\{.*\})' (\S+):443 ([\w.]+)/(\w+)")


def notes(values: str, which: str = "helm4", *more: str) -> str:
    options = ["--namespace", NAMESPACE, "--dry-run=client", "--values", str(CHART / values), *more]
    done = helm(which, "install", RELEASE, str(CHART), *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize("values", VALUES_FILES)
def test_helm_3_prints_what_helm_4_prints(values: str) -> None:
    # Helm 3 asks a cluster for its kinds even where nothing is installed.
    with known_kinds(rendered(values)) as cluster:
        told = notes(values, "helm3", "--kube-apiserver", cluster, "--disable-openapi-validation")
    assert told.strip()
    assert told.strip() == notes(values).strip()


def test_each_entrance_of_grpc_has_a_call_that_its_proto_takes() -> None:
    assert all(stub.DESCRIPTOR for stub in STUBS)
    calls = CALL.findall(notes("values-gpu.yaml"))
    assert {host for _, _, host, _, _ in calls} == {
        f"{name}.example.com" for name in ("extraction", "codec", "understanding")
    }
    for proto, body, _, service, method in calls:
        assert (ROOT / "protos" / proto).is_file()
        told = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
        message = message_factory.GetMessageClass(told.input_type)()
        json_format.ParseDict(json.loads(re.sub(r"'\$\(.*?\)'", "AAAA", body)), message)
        assert message.ByteSize() > 0


def test_the_gateway_has_a_call_with_and_without_an_entrance() -> None:
    assert "https://faces.example.com/v1/analyze" in notes("values-ha.yaml")
    assert "port-forward --namespace faces service/semface-gateway 8080:8080" in notes("values-dev.yaml")


def test_one_small_redis_is_said_to_be_that() -> None:
    assert "one small replica" in notes("values.yaml")
    assert "one small replica" not in notes("values-ha.yaml")
