"""The gateway keeps to its own OpenAPI, whatever is sent to it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from semface.media_types import LINES_TYPE
from tests.running import System

pytestmark = pytest.mark.slow

EXAMPLES = 6
CHECKS = [content_type_conformance, response_headers_conformance, response_schema_conformance]


@schemathesis.serializer(LINES_TYPE)
def lines(context: schemathesis.SerializationContext, value: object) -> bytes:
    """Return ``value`` as the lines of an import."""
    return str(value).encode(errors="replace")


def test_every_route_answers_as_it_documents(system: System) -> None:
    schema = schemathesis.openapi.from_url(f"{system.gateway}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 18
    for operation in operations:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def answers(case: schemathesis.Case) -> None:
            answer = case.call(timeout=60)
            assert answer.status_code != 500, (case.method, case.path, answer.text)
            case.validate_response(answer, checks=CHECKS)

        answers()
