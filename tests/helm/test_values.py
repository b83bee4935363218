"""Bad values are refused by name, before anything reaches a cluster."""

import pytest

from tests.helm.chart import HELMS, template

pytestmark = pytest.mark.helm

BAD = {
    "a typo": (("gateway.replica=3",), "replica"),
    "a typo at the top": (("gatway.replicas=3",), "gatway"),
    "a negative replica count": (("codec.replicas=-1",), "replicas"),
    "no replica": (("codec.replicas=0",), "replicas"),
    "hpa with keda": (("autoscaling.hpa.enabled=true", "autoscaling.keda.enabled=true"), "autoscaling"),
    "latest": (("image.tag=latest",), "tag"),
    "half a digest": (("image.digest=sha256:12",), "digest"),
    "an unknown mode": (("inference.mode=quantum",), "mode"),
    "a stop that would be cut off": (("drain.graceSeconds=36",), "drain.terminationSeconds"),
    "engines without a claim": (("triton.engines.enabled=true",), "triton.engines.claim"),
    "a claim without a name": (("models.source=claim",), "models.claim"),
    "an external redis without its url": (("redis.mode=external",), "secrets.redisUrl"),
    "an entrance without a gateway": (("entrances.http.enabled=true",), "entrances.http.parentRefs"),
    "keda without prometheus": (("autoscaling.keda.enabled=true",), "autoscaling.keda.prometheus"),
    "a setting in small letters": (("codec.environment.max_in_flight=3",), "environment"),
    "a memory limit that is no quantity": (("codec.resources.limits.memory=much",), "memory"),
    "a cidr without a mask": (("redis.external.cidrs={10.0.0.0}",), "cidrs"),
    "a collector without a port": (("tracing.endpoint=http://collector",), "endpoint"),
    "more traces than requests": (("tracing.ratio=2",), "ratio"),
    "a schedule of four fields": (("redis.backup.schedule=1 2 3 4",), "schedule"),
}


@pytest.mark.parametrize("which", HELMS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused_by_name(which: str, name: str) -> None:
    sets, field = BAD[name]
    done = template(which, "values.yaml", sets)
    assert done.returncode != 0
    assert field in done.stderr
