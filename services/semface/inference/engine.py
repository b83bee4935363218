"""What every engine offers: run a named network on arrays."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.generic]]


class Engine(Protocol):
    """Runs the networks of one model repository."""

    async def infer(self, model: str, inputs: Arrays) -> Arrays:
        """Run ``model`` on ``inputs`` (name to array, leading axis is the batch) and return its outputs by name."""
        ...
