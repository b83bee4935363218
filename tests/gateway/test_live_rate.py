"""Live frames a second through the whole loop, on the real networks: sender's socket, frames, receiver's socket."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest
from PIL import Image
from websockets.asyncio.client import connect

from tests.running import astronaut, jpeg, running_system

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2] / "model_repository"
SIZE = (320, 240)
SECONDS = 6.0
WARM_UP = 10
IN_FLIGHT = 2
FLOOR = 8.0
"""Frames a second on two cores; the aim is 25."""
BUSY = 1.5
"""Load for each core beyond which a rate tells more of the other work than of this."""


def moving_portrait() -> list[bytes]:
    """Return photographs of a camera's size, of a face that moves."""
    whole = astronaut().resize((360, 360))
    frames = []
    for number in (*range(12), *range(10, 0, -1)):
        turned = whole.rotate(number - 6, Image.Resampling.BICUBIC, center=(158, 94))
        left, upper = 158 - SIZE[0] // 2 + number, max(0, 94 - SIZE[1] // 2 + number)
        frames.append(jpeg(turned.crop((left, upper, left + SIZE[0], upper + SIZE[1])), 85))
    return frames


async def live_rate(gateway: str) -> float:
    """Return how many frames a second the receiver decodes."""
    url = f"{gateway.replace('http', 'ws')}/v1/stream"
    photographs = moving_portrait()
    places = asyncio.Semaphore(IN_FLIGHT)
    shown: list[float] = []
    async with connect(f"{url}/send") as sender, connect(f"{url}/receive") as receiver:

        async def photograph() -> None:
            number = 0
            while True:
                await places.acquire()
                await sender.send(photographs[number % len(photographs)])
                number += 1

        async def carry() -> None:
            async for message in sender:
                if isinstance(message, bytes):
                    await receiver.send(message)
                else:
                    assert json.loads(message)["faces"] == 1
                    places.release()

        async def show() -> None:
            async for message in receiver:
                assert json.loads(message)["state"] == "decoded"
                shown.append(time.perf_counter())
                if len(shown) > WARM_UP and shown[-1] - shown[WARM_UP] > SECONDS:
                    return

        tasks = [asyncio.create_task(part()) for part in (photograph, carry, show)]
        done, _ = await asyncio.wait(tasks, timeout=120, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()
    return (len(shown) - 1 - WARM_UP) / (shown[-1] - shown[WARM_UP])


async def test_a_moving_face_is_followed_live() -> None:
    with running_system(REPOSITORY) as system:
        before = os.getloadavg()[0]
        rate = await live_rate(system.gateway)
    print(f"{rate:.1f} frames/s, load before {before:.1f} on {os.cpu_count()} cores")
    if before > BUSY * (os.cpu_count() or 1) and rate < FLOOR:
        pytest.skip(f"the machine is busy (load {before:.1f}): {rate:.1f} frames/s")
    assert rate >= FLOOR
