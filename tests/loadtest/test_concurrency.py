"""The generator's calls run side by side: without gRPC's peace with gevent each would wait for the one before it."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

ROOT = Path(__file__).resolve().parents[2]
CALLERS = 16
SECONDS = 0.2
CALLING = """
import sys, time
from gevent import monkey; monkey.patch_all()
import gevent
from loadtest.grpc_users import shared_channel
call = shared_channel(sys.argv[1], "", "", "").unary_unary("/slow.Service/Sleep")
call(b"")
started = time.perf_counter()
gevent.joinall([gevent.spawn(call, b"", timeout=30) for _ in range(int(sys.argv[2]))], raise_error=True)
print(time.perf_counter() - started)
"""


class Sleeping(grpc.GenericRpcHandler):
    """Answers every method after a while."""

    def service(self, handler_call_details: Any) -> Any:
        def sleep(request: bytes, context: Any) -> bytes:
            time.sleep(SECONDS)
            return request

        return grpc.unary_unary_rpc_method_handler(sleep)


def test_users_do_not_wait_for_each_others_answers() -> None:
    server = grpc.server(ThreadPoolExecutor(CALLERS), handlers=[Sleeping()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        command = [sys.executable, "-c", CALLING, f"127.0.0.1:{port}", str(CALLERS)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    finally:
        server.stop(None)
    # One after the other they would take CALLERS times as long.
    assert SECONDS <= float(run.stdout) < CALLERS * SECONDS / 4
