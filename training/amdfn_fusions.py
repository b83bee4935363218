"""What the three ways of fusing the attributes cost: parameters and time of a scan (the paper's Table II).

    python -m training.amdfn_fusions

Fusion of the data is AMDFN; of features and of scores it is one ResNet-18 for each of the six attributes. All have the
same width and random weights, which change neither figure. One thread, one scan at a time; the three take turns.
"""

import time
from typing import Final

import numpy as np
import torch

from semface.recognisers import ATTRIBUTE_IMAGES
from training.amdfn_network import AttentionFusionNetwork, FeatureFusion, ScoreFusion, parameter_count

ROUNDS: Final = 60


def main() -> None:
    """Print a row for each way."""
    torch.set_num_threads(1)
    networks = {
        "data": AttentionFusionNetwork().eval(),
        "features": FeatureFusion().eval(),
        "scores": ScoreFusion().eval(),
    }
    scan = torch.zeros(1, *ATTRIBUTE_IMAGES)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for name, network in networks.items():
                begin = time.process_time()
                network(scan)
                seconds[name].append(time.process_time() - begin)
    base_size, base_time = parameter_count(networks["features"]), float(np.median(seconds["features"]))
    for name, network in networks.items():
        size, median = parameter_count(network), float(np.median(seconds[name]))
        print(
            f"fusion of {name}: {size:,} parameters ({size / base_size:.2f} of features'), "
            f"{median * 1000:.1f} ms ({median / base_time:.2f})"
        )


if __name__ == "__main__":
    main()
