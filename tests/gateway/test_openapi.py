"""The gateway keeps to its own OpenAPI, whatever is sent to it."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)

from tests.running import System

pytestmark = pytest.mark.slow

EXAMPLES = 12


@pytest.fixture
def api(system: System) -> object:
    """Return the schema that the running gateway tells."""
    return schemathesis.openapi.from_url(f"{system.gateway}/openapi.json")


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_route_answers_as_it_documents(case: schemathesis.Case) -> None:
    answer = case.call(timeout=60)
    assert answer.status_code != 500, answer.text
    case.validate_response(
        answer, checks=[content_type_conformance, response_headers_conformance, response_schema_conformance]
    )
