"""Fitting a network that looks at pixels: AdamW, one warm-up and a cosine, the mean of late weights, check-points.

Convolutions run in bfloat16 where the processor has it; losses do not.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

AVERAGE_DECAY: Final = 0.998
"""Of the moving average of the weights, for each step; at first less, so that a short training forgets its start."""
WARM_UP: Final = 0.1
"""Share of the steps in which the rate rises."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast a network is fitted, and where its state is kept between interruptions."""

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    seed: int
    checkpoint: Path


LossOf = Callable[[Tensor, torch.Generator], Tensor]
"""Gives the loss of a batch of sample indices, drawing what is random from the generator."""


def fit(
    network: nn.Module, loss_of: LossOf, count: int, plan: Plan, judge: Callable[[nn.Module], float] | None = None
) -> nn.Module:
    """Fit ``network`` in place and return the moving average of its weights, ready to answer.

    ``judge`` gives a figure of the average for the bar, after every epoch; it decides nothing. Continues from
    ``plan.checkpoint`` when it is there; the result is the same as without the interruption.
    """
    optimiser = torch.optim.AdamW(_groups(network, plan.weight_decay), lr=plan.rate)
    steps = plan.epochs * -(-count // plan.batch)
    slope = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_share(step, steps))
    average = AveragedModel(network, multi_avg_fn=_move_average, use_buffers=True)
    random = torch.Generator().manual_seed(plan.seed)
    parts: dict[str, Any] = {"network": network, "average": average, "optimiser": optimiser, "slope": slope}
    begin = _resume(plan.checkpoint, parts, random)
    bar = tqdm(range(begin, plan.epochs), initial=begin, total=plan.epochs, unit="epoch")
    for epoch in bar:
        network.train()
        losses = []
        for rows in tqdm(torch.randperm(count, generator=random).split(plan.batch), leave=False, mininterval=10):
            # A batch norm needs more than one sample.
            if len(rows) < 2:
                continue
            loss = loss_of(rows, random)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            slope.step()
            average.update_parameters(network)
            losses.append(loss.item())
        figure = float("nan") if judge is None else judge(average.module.eval())
        bar.set_postfix(loss=f"{np.mean(losses):.4f}", selection=f"{figure:.4f}")
        _keep(plan.checkpoint, parts, random, epoch + 1)
    answer: nn.Module = copy.deepcopy(average.module)
    return answer.eval()


def rate_share(step: int, steps: int) -> float:
    """Return the share of the highest rate at ``step`` of ``steps``: a line up, then half a cosine down."""
    rising = max(WARM_UP * steps, 1.0)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1.0 + float(np.cos(np.pi * min((step - rising) / max(steps - rising, 1.0), 1.0))))


def _move_average(average: list[Tensor], latest: list[Tensor], steps: Tensor) -> None:
    """Move ``average`` towards ``latest``, as a mean of about the last ninth of the ``steps`` so far, and of 500."""
    decay = min(AVERAGE_DECAY, (1.0 + int(steps)) / (10.0 + int(steps)))
    get_ema_multi_avg_fn(decay)(average, latest, steps)


def in_bfloat16() -> torch.autocast:
    """Return the context in which convolutions run in bfloat16, where that is worth it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported())


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _resume(path: Path, parts: dict[str, Any], random: torch.Generator) -> int:
    if not path.exists():
        return 0
    kept = torch.load(path, weights_only=False)
    for name, part in parts.items():
        part.load_state_dict(kept[name])
    random.set_state(kept["random"])
    return int(kept["epoch"])


def _keep(path: Path, parts: dict[str, Any], random: torch.Generator, epoch: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save(state | {"random": random.get_state(), "epoch": epoch}, unfinished)
    unfinished.replace(path)
