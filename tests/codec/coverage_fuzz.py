"""Coverage-guided fuzzing of the frame decoder and the reader of recordings by atheris (Apache-2.0; not a dependency).

`make fuzz`, or `python -m tests.codec.coverage_fuzz -max_total_time=600` for longer.
"""

import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["semface.codec"]):
    from semface.codec.bitstream import drop, outline, unpack
    from semface.codec.entropy import FrequencyTables
    from semface.codec.recording import SIGNATURE, Recording
from semface.descriptors import Portion
from semface.errors import SemfaceError
from tests.codec.test_entropy import random_tables

HASH = bytes(range(32))
TABLES = {portion: FrequencyTables(random_tables(portion.value, 20, 30, 0.5)) for portion in Portion.ALL}


def fuzz(data: bytes) -> None:
    """Read ``data`` as a frame, as relay and receiver do, and as a recording; only our own errors may be raised."""
    with suppress(SemfaceError):
        drop(data, Portion.EXPRESSION)
    with suppress(SemfaceError):
        outline(data)
        for portion, payload in unpack(data, HASH)[1].items():
            TABLES[portion].decode(payload)
    with suppress(SemfaceError):
        Recording.read(SIGNATURE + data)
    with suppress(SemfaceError):
        # Past the checks, which a fuzzer seldom meets.
        assert TABLES[Portion.IDENTITY].encode(TABLES[Portion.IDENTITY].decode(data)) == data


if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
