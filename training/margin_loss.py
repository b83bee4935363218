"""An additive cosine margin over the people of a training set (Wang et al., CosFace, 2018)."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from training.descriptor_networks import unit

SCALE: Final = 24.0
MARGIN: Final = 0.2
"""By how much the cosine to one's own centre has to be above those to all others."""
FEWEST_PICTURES: Final = 2
"""A person with fewer pictures tells nothing of how pictures of a person differ."""


class PeopleMargin(nn.Module):
    """How well embeddings tell apart those people who are shown more than once; it learns a centre for each."""

    person: Tensor

    def __init__(self, people: Sequence[str], targets: Tensor) -> None:
        """Begin with each person's centre at the mean of their ``targets`` (N, D), in the order of ``people`` (N,)."""
        super().__init__()
        counts = Counter(people)
        numbers = {name: row for row, name in enumerate(n for n in counts if counts[n] >= FEWEST_PICTURES)}
        self.register_buffer("person", torch.tensor([numbers.get(name, -1) for name in people]))
        known = self.person >= 0
        sums = torch.zeros(len(numbers), targets.shape[1]).index_add_(0, self.person[known], targets[known])
        self.centres = nn.Parameter(unit(sums))

    def forward(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        """Return the mean loss of unit ``embeddings`` (B, D) of the faces ``rows`` (B,); 0 without such people."""
        person = self.person[rows]
        known = person >= 0
        if not known.any():
            return embeddings.sum() * 0.0
        cosines = embeddings[known] @ unit(self.centres).T
        margin = MARGIN * nn.functional.one_hot(person[known], len(self.centres))
        return nn.functional.cross_entropy(SCALE * (cosines - margin), person[known])
