import re

import httpx


def test_everything_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"alive": True}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "ready": True,
        "services": {"extraction": True, "codec": True, "understanding": True},
        "store": True,
    }


def test_the_models_in_service_are_those_that_answer(client: httpx.Client) -> None:
    models = client.get("/v1/models").raise_for_status().json()["models"]
    assert [model["name"] for model in models] == [
        "face_detection_proposal",
        "face_detection_refinement",
        "face_detection_output",
        "descriptor_extraction",
        "codec",
        "expression_recognition",
        "face_verification",
    ]
    assert {model["engine"] for model in models} == {"onnxruntime"}


def test_requests_are_counted_by_route_never_by_path(client: httpx.Client) -> None:
    client.get("/v1/subjects/someone-in-particular")
    client.get("/a-path-of-a-scanner")
    text = client.get("/metrics").text
    assert 'semface_http_requests_total{method="GET",route="/v1/subjects/{subject_id}",status="404"}' in text
    assert "someone-in-particular" not in text
    assert "scanner" not in text


def test_the_documentation_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    page = client.get("/docs").raise_for_status().text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/docs/assets/")
        assert client.get(source).status_code == 200


def test_every_route_and_its_problems_are_documented(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").raise_for_status().json()
    assert set(schema["paths"]) >= {
        "/v1/analyze",
        "/v1/encode",
        "/v1/decode",
        "/v1/expression",
        "/v1/render",
        "/v1/subjects/{subject_id}",
        "/v1/subjects/{subject_id}/verify",
        "/v1/identify",
        "/v1/models",
        "/livez",
        "/readyz",
    }
    assert set(schema["paths"]["/v1/analyze"]["post"]["requestBody"]["content"]) >= {
        "image/jpeg",
        "multipart/form-data",
    }
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert "application/problem+json" in operation["responses"]["default"]["content"], path
            assert "422" not in operation["responses"]
