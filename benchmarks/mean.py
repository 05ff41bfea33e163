"""The mean of the weights of models that went on from one another: a model that is often better than each.

    mean.py steady.safetensors=0.2 steady2.safetensors=0.5 steady4.safetensors=0.3 -o calm.safetensors

Shares add up to 1. All must have the same network; the first one's header is kept. (Weights averaged along a
training: Izmailov et al., arXiv 1803.05407, section 3.)
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from texturenets.errors import UserError
from texturenets.networks import network_files


def main() -> None:
    """Read, average, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="FILE=SHARE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    parts = [one.rpartition("=") for one in options.models]
    try:
        shares = [float(share) for _, _, share in parts]
        read = [network_files.load(Path(name)) for name, _, _ in parts]
    except ValueError:
        parser.error(f"{' '.join(options.models)}: give FILE=SHARE, as a.safetensors=0.5")
    except UserError as error:
        parser.error(str(error))
    if not math.isclose(sum(shares), 1):
        parser.error(f"the shares add up to {sum(shares):g}, not to 1")
    network, header = read[0]
    if any(other.generator != header.generator for _, other in read):
        parser.error("the models have different networks")
    states = [one.state_dict() for one, _ in read]
    mean = {
        key: sum(share * state[key].double() for share, state in zip(shares, states, strict=True))
        for key in states[0]
    }
    network.load_state_dict({key: value.to(states[0][key].dtype) for key, value in mean.items()})  # type: ignore[union-attr]
    network_files.save(network, header, options.output)


if __name__ == "__main__":
    main()
