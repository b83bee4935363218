"""The faces of several calls understood at once: what a call asks for is joined with what others ask for meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Descriptors, Portion
from semface.understanding.core import ENSEMBLES_OF_LATENTS, Understanding
from semface.understanding.gathering import Gathering, ask_all, row_bounds

Answers = dict[str, NDArray[np.float32]]
"""``confidences`` (N, 8) of the expression portion, ``embedding`` (N, 512) of the identity portion, or both."""


ReadFrames = Callable[[Sequence[bytes]], Awaitable[tuple[NDArray[np.float32], list[Portion]]]]
"""From frames to their latents (N, 256) and the portions that each carries."""


class JoinedUnderstanding:
    """Answers what portions of faces tell. Belongs to one event loop."""

    def __init__(self, understanding: Understanding, read: ReadFrames) -> None:
        """Ask ``understanding`` of the latents that ``read`` finds in frames."""
        self._understanding = understanding
        self._read = read
        self._of_frames = {told: Gathering(partial(self._answer_frames, told)) for told in ENSEMBLES_OF_LATENTS}
        self._of_numbers = {
            Portion.EXPRESSION: ("confidences", Gathering(partial(ask_all, understanding.expressions))),
            Portion.IDENTITY: ("embedding", Gathering(partial(ask_all, understanding.embeddings))),
        }

    async def of_frames(self, frames: Sequence[bytes], told: Portion) -> tuple[Answers, list[Portion]]:
        """Return what the portions ``told`` of each frame tell, and which portions each carried.

        What is answered of a frame without one of them is of no use. Raises as reading the frames does.
        """
        return await self._of_frames[told].submit(frames)

    async def of_numbers(self, values: Descriptors, portions: Sequence[Portion], told: Portion) -> Answers:
        """Return what the portions ``told`` of ``values`` (N, 257), of which ``portions`` are present, tell.

        Raises GROUP_ABSENT where one is not present.
        """
        asked = {}
        for portion in told:
            name, gathering = self._of_numbers[portion]
            asked[name] = gathering.submit((values, portions))
        # All are over before an error of one is told.
        await asyncio.wait(asked.values())
        return {name: await answer for name, answer in asked.items()}

    async def _answer_frames(
        self, told: Portion, requests: Sequence[Sequence[bytes]]
    ) -> list[tuple[Answers, list[Portion]]]:
        latents, portions = await self._read(list(chain.from_iterable(requests)))
        answers = await self._understanding.of_latents(latents, told)
        return [
            ({name: rows[begin:end] for name, rows in answers.items()}, portions[begin:end])
            for begin, end in row_bounds(requests)
        ]
