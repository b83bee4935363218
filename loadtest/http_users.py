"""Users of the gateway: some enrol and verify subjects, some identify and analyse photographs."""

import os
import random
import ssl
import uuid
from typing import Any, ClassVar

from geventhttpclient import HTTPClient

from loadtest.acting import MOST_UNANSWERED, ActingUser
from loadtest.grpc_users import shared_channel
from loadtest.payloads import prepare

SECONDS = 60.0
BITSTREAM_TYPE = "application/vnd.semface.bitstream"
MISSING = 404


class HttpUser(ActingUser):
    """Has connections to the gateway and something to send."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        """Connect to the gateway named by ``--host``."""
        super().__init__(environment)
        options = self.options
        trusted = {"ssl_context_factory": lambda: ssl.create_default_context(cafile=options.ca)}
        self.connections = HTTPClient.from_url(
            environment.host or "http://127.0.0.1:8080",
            concurrency=MOST_UNANSWERED,
            connection_timeout=SECONDS,
            network_timeout=SECONDS,
            **(trusted if options.ca else {}),
        )
        key = os.environ.get("SEMFACE_API_KEY")
        self.authorization = {"Authorization": f"Bearer {key}"} if key else {}
        channel = shared_channel(options.grpc, options.ca, options.grpc_certificate, options.grpc_key)
        self.payloads = prepare(channel, options.photograph)

    def ask(
        self, name: str, method: str, path: str, body: bytes = b"", kind: str = "image/jpeg", accepted: Any = ()
    ) -> bytes:
        """Return the body of the answer to one request, empty where it failed or was shed."""

        def call() -> tuple[int, bytes, float]:
            headers = {**self.authorization, **({"Content-Type": kind} if body else {})}
            answer = self.connections.request(method, path, body=body, headers=headers)
            content = bytes(answer.read())
            return answer.status_code, content, float(answer.get("Retry-After") or 1)

        return self.report.http(name, call, accepted)

    def on_stop(self) -> None:
        """Let go of the connections."""
        super().on_stop()
        self.connections.close()


class EnrollmentUser(HttpUser):
    """Enrols subjects of its own, verifies them, and erases them."""

    actions: ClassVar = {"enroll": 2, "verify": 6, "erase": 1}

    def __init__(self, environment: Any) -> None:
        """Begin without subjects."""
        super().__init__(environment)
        self.subjects: list[str] = []

    def enroll(self) -> None:
        """Enrol a photograph under a new name."""
        subject = f"load-{uuid.uuid4().hex}"
        picture = random.choice(self.payloads.photographs)
        if self.ask("enroll", "PUT", f"/v1/subjects/{subject}", picture):
            self.subjects.append(subject)

    def verify(self) -> None:
        """Compare a bitstream with a subject of ours; enrol one where there is none."""
        if not self.subjects:
            self.enroll()
            return
        path = f"/v1/subjects/{random.choice(self.subjects)}/verify"
        # At a fixed rate the subject may be erased meanwhile.
        self.ask("verify", "POST", path, self.payloads.bitstream, BITSTREAM_TYPE, (MISSING,))

    def erase(self) -> None:
        """Erase a subject of ours."""
        if self.subjects:
            subject = self.subjects.pop(random.randrange(len(self.subjects)))
            self.ask("erase", "DELETE", f"/v1/subjects/{subject}", accepted=(MISSING,))

    def on_stop(self) -> None:
        """Erase what was enrolled."""
        for subject in self.subjects:
            self.connections.request("DELETE", f"/v1/subjects/{subject}", headers=self.authorization).read()
        super().on_stop()


class IdentifyUser(HttpUser):
    """Looks faces up among all enrolled, and analyses photographs."""

    actions: ClassVar = {"identify": 4, "analyze": 2, "expression": 2}

    def identify(self) -> None:
        """Which subject is the face of this bitstream?"""
        self.ask("identify", "POST", "/v1/identify", self.payloads.bitstream, BITSTREAM_TYPE)

    def analyze(self) -> None:
        """Everything about a photograph."""
        self.ask("analyze", "POST", "/v1/analyze", random.choice(self.payloads.photographs))

    def expression(self) -> None:
        """Which expression is in this bitstream?"""
        self.ask("expression", "POST", "/v1/expression", self.payloads.bitstream, BITSTREAM_TYPE)
