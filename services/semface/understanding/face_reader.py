"""Reading the faces of a request: described or coded, into arrays."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain

import numpy as np

from semface.codec.core import CODEC_NAME, CODEC_VERSION, Codec, Decoded
from semface.codec.prior import Latents
from semface.descriptors import DESCRIPTOR_SIZE, Descriptors, Portion
from semface.errors import Reason, SemfaceError
from semface.messages import pack_model, unpack_descriptors
from semface.rpc.timing import current_clock
from semface.understanding.core import canary_face
from semface.understanding.gathering import Gathering, row_bounds
from semface.v1 import descriptors_pb2, understanding_pb2

Sources = Sequence[understanding_pb2.FaceSource]

# Only ever copied into answers.
packed_model = lru_cache(maxsize=8)(pack_model)


class FaceReader:
    """Reads the faces of a request, described or coded, into arrays."""

    def __init__(self, codec: Codec) -> None:
        """Decode bitstreams with ``codec``, those of several calls at once."""
        self._codec = codec
        self._decoding = Gathering(self._decode_all)
        self._has_passed = False

    async def read(self, sources: Sources, fields: Sequence[str]) -> tuple[Descriptors, list[Portion]]:
        """Return the numbers (N, 257) of ``sources`` and what is present of each; errors name the item of ``fields``.

        Raises FIELD_INVALID for a face without a source, MODEL_MISMATCH for another codec's bitstream, and what reading
        descriptors or decoding raises.
        """
        values, portions = np.zeros((len(sources), DESCRIPTOR_SIZE), np.float32), [Portion(0)] * len(sources)
        coded: list[int] = []
        for row, (source, field) in enumerate(zip(sources, fields, strict=True)):
            match source.WhichOneof("source"):
                case "descriptors":
                    values[row], portions[row] = unpack_descriptors(source.descriptors, f"{field}.descriptors")
                case "bitstream":
                    self._check_hash(source.codec_hash, f"{field}.codec_hash")
                    coded.append(row)
                case _:
                    raise SemfaceError(Reason.FIELD_INVALID, f"{field}: set descriptors or a bitstream", field=field)
        for row, decoded in zip(coded, await self._decode(sources, fields, coded), strict=True):
            values[row], portions[row] = decoded
        return values, portions

    async def read_latents(self, sources: Sources, fields: Sequence[str]) -> tuple[Latents, list[Portion]]:
        """Return the latents (N, 256) of ``sources``, all of them bitstreams, and what is present of each.

        Raises as ``read`` does.
        """
        for source, field in zip(sources, fields, strict=True):
            self._check_hash(source.codec_hash, f"{field}.codec_hash")
        with _naming_items(fields), current_clock().inference():
            latents, carried = await self._codec.read([source.bitstream for source in sources])
        return latents, [portions for portions, _ in carried]

    async def _decode(
        self, sources: Sources, fields: Sequence[str], rows: Sequence[int]
    ) -> list[tuple[Descriptors, Portion]]:
        if not rows:
            return []
        with _naming_items([fields[row] for row in rows]), current_clock().inference():
            decoded = await self._decoding.submit([sources[row].bitstream for row in rows])
        return [(face.descriptors, face.portions) for face in decoded]

    async def _decode_all(self, requests: Sequence[Sequence[bytes]]) -> list[list[Decoded]]:
        """Return the faces of the frames of each of ``requests``."""
        decoded = await self._codec.decode(list(chain.from_iterable(requests)))
        return [decoded[begin:end] for begin, end in row_bounds(requests)]

    def _check_hash(self, codec_hash: int, field: str) -> None:
        if codec_hash not in (0, self.codec_model.hash):
            raise SemfaceError(
                Reason.MODEL_MISMATCH,
                f"{field}: the bitstream was made by the codec model {codec_hash:016x}, this service decodes "
                f"{self.codec_model.hash:016x}",
                field=field,
            )

    @property
    def codec_model(self) -> descriptors_pb2.Model:
        """The codec model that frames have to be of."""
        return packed_model(CODEC_NAME, CODEC_VERSION, self._codec.model_hash)

    async def canary(self) -> None:
        """Code and decode one face; raises when that fails."""
        frames = await self._codec.encode(canary_face())
        await self._codec.decode(frames)
        if not self._has_passed:
            self._codec.refresh()
            self._has_passed = True


@contextmanager
def _naming_items(fields: Sequence[str]) -> Iterator[None]:
    """Name in an error of the codec, which counts its frames, the one of ``fields`` that the caller knows."""
    try:
        yield
    except SemfaceError as error:
        names = {f"frames[{place}]": f"{name}.bitstream" for place, name in enumerate(fields)}
        field = names.get(error.field or "")
        if field is None or error.field is None:
            raise
        raise SemfaceError(error.reason, error.message.replace(error.field, field, 1), field=field) from error
