"""Enrol a person over HTTP and verify a second photograph against the enrolment.

Start the system with `semface up`, then:
`.venv/bin/python examples/enroll_and_verify.py first.jpg second.jpg [http://127.0.0.1:8080]`.
"""

import sys
from pathlib import Path

import httpx


def main(first: Path, second: Path, gateway: str = "http://127.0.0.1:8080") -> None:
    """Print whether ``second`` shows the person of ``first``, then erase the enrolment."""
    headers = {"content-type": "image/jpeg"}
    with httpx.Client(base_url=gateway, headers=headers, timeout=30.0) as client:
        client.put("/v1/subjects/example", content=first.read_bytes()).raise_for_status()
        answer = client.post("/v1/subjects/example/verify", content=second.read_bytes()).raise_for_status().json()
        print(f"matched: {answer['matched']} (score {answer['score']:.3f}, threshold {answer['threshold']:.3f})")
        client.delete("/v1/subjects/example").raise_for_status()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
