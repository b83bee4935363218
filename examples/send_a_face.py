"""Send a face over gRPC: photograph, descriptors, bitstream, and what the receiver reads from it.

Start the system with `semface up`, then: `.venv/bin/python examples/send_a_face.py photograph.jpg [127.0.0.1:8100]`.
"""

import sys
from pathlib import Path

from semface.client import Client


def main(photograph: Path, server: str = "127.0.0.1:8100") -> None:
    """Print what a receiver learns from the coded face in ``photograph``."""
    with Client(server) as client:
        face = client.extract(photograph.read_bytes()).largest
        frame = client.encode(face.descriptors).frames[0]
        print(f"{frame.bits} bits instead of {8 * photograph.stat().st_size}")
        recognition = client.recognize(frame.data)
        print(f"expression: {recognition.leading} ({recognition.confidences[recognition.leading]:.0%})")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
