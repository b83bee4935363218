"""The frame: two bytes of head, a length for each payload but the last, then payloads, each with a check of its own.

``docs/bitstream.md`` is the specification. Whoever has no codec model (a relay) can read a frame's outline and drop
payloads; whoever has one can also tell that the payloads are whole and made by the same model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError

FORMAT_VERSION: Final = 0
"""The version that this package writes and reads; the field has two bits."""

KEY_FRAME: Final = 0
"""The frame type that stands alone; 1 is kept for frames predicted inside a session."""

MAX_QUALITIES: Final = 8
"""The quality field has three bits."""

MAX_FRAME_BYTES: Final = 1024
"""No frame is longer: 256 symbols of at most 16 bits, heads and checks take less than 530 bytes."""

PORTION_ORDER: Final = (Portion.ILLUMINATION, Portion.EXPRESSION, Portion.IDENTITY)
"""Order of payloads: the long identity comes last, where its length needs no byte."""

HASH_BYTES: Final = 8
"""How many leading bytes of the codec model's SHA-256 seed the checks."""

CHECK_BYTES: Final = 1
"""The check after each payload."""

_HEAD_BYTES: Final = 2
_MAX_LENGTH: Final = 255
_HEAD_POLYNOMIAL: Final = 0b1_0011  # x^4 + x + 1
_LENGTH_POLYNOMIAL: Final = 0b1011  # x^3 + x + 1, of period 7
_PAYLOAD_POLYNOMIAL: Final = 0x107  # x^8 + x^2 + x + 1


@dataclass(frozen=True, slots=True)
class Outline:
    """What a frame says of itself without any model: quality index and the bytes of each payload, checks left out."""

    quality: int
    sizes: Mapping[Portion, int]

    @property
    def portions(self) -> Portion:
        """The portions present."""
        return _union(self.sizes)


def pack(quality: int, payloads: Mapping[Portion, bytes], model_hash: bytes) -> bytes:
    """Return the frame of ``payloads`` (at least one) coded at ``quality`` (0…7) by the model of ``model_hash``.

    Raises ``ValueError`` when a value does not fit its field.
    """
    if not payloads or not 0 <= quality < MAX_QUALITIES:
        raise ValueError("a frame needs at least one payload and a quality below 8")
    bodies = [
        (portion, payloads[portion] + _payload_check(quality, portion, payloads[portion], model_hash))
        for portion in PORTION_ORDER
        if portion in payloads
    ]
    return _assemble(quality, bodies)


def outline(frame: bytes) -> Outline:
    """Return what ``frame`` says of itself; only its head and lengths are checked.

    Raises BITSTREAM_TOO_LARGE, BITSTREAM_VERSION or BITSTREAM_CORRUPT.
    """
    quality, bodies = _split(frame)
    return Outline(quality, {portion: len(body) - CHECK_BYTES for portion, body in bodies})


def unpack(frame: bytes, model_hash: bytes) -> tuple[int, dict[Portion, bytes]]:
    """Return quality and payloads of ``frame``, every check passed.

    Raises BITSTREAM_TOO_LARGE, BITSTREAM_VERSION, or BITSTREAM_CORRUPT when the frame is damaged or another codec model
    made it.
    """
    quality, bodies = _split(frame)
    for portion, body in bodies:
        if body[-CHECK_BYTES:] != _payload_check(quality, portion, body[:-CHECK_BYTES], model_hash):
            raise SemfaceError(
                Reason.BITSTREAM_CORRUPT, f"the {_name(portion)} payload is damaged or of another codec model"
            )
    return quality, {portion: body[:-CHECK_BYTES] for portion, body in bodies}


def drop(frame: bytes, portion: Portion) -> bytes:
    """Return ``frame`` without the payloads of ``portion``; needs no model, and keeps the other payloads' checks.

    A portion that is absent changes nothing. Raises GROUP_ABSENT when no payload would be left, and what ``outline``
    raises.
    """
    quality, bodies = _split(frame)
    left = [(present, body) for present, body in bodies if present not in portion]
    if not left:
        raise SemfaceError(Reason.GROUP_ABSENT, "a frame must keep at least one payload")
    return _assemble(quality, left)


def _assemble(quality: int, bodies: list[tuple[Portion, bytes]]) -> bytes:
    lengths = bytes(_length(body) for _, body in bodies[:-1])
    fields = _fields(quality, _union(portion for portion, _ in bodies))
    head = fields << 7 | _modulo(fields << 4, _HEAD_POLYNOMIAL) << 3 | _length_check(lengths)
    return head.to_bytes(_HEAD_BYTES, "big") + lengths + b"".join(body for _, body in bodies)


def _length(body: bytes) -> int:
    if len(body) - CHECK_BYTES > _MAX_LENGTH:
        raise ValueError("a payload that another follows can have 255 bytes at most")
    return len(body) - CHECK_BYTES


def _split(frame: bytes) -> tuple[int, list[tuple[Portion, bytes]]]:
    """Return quality and (portion, payload with its check) in order, head and lengths checked."""
    if len(frame) > MAX_FRAME_BYTES:
        raise SemfaceError(Reason.BITSTREAM_TOO_LARGE, f"a frame has {MAX_FRAME_BYTES} bytes at most")
    head = int.from_bytes(frame[:_HEAD_BYTES], "big")
    if len(frame) < _HEAD_BYTES or _modulo(head >> 3, _HEAD_POLYNOMIAL):
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the head of the frame is damaged")
    if head >> 14 != FORMAT_VERSION or head >> 13 & 1 != KEY_FRAME:
        raise SemfaceError(
            Reason.BITSTREAM_VERSION, "the frame's version or type is newer than this decoder; update semface"
        )
    portions = [portion for portion in PORTION_ORDER if head >> 7 & portion.value]
    starts = _HEAD_BYTES + max(len(portions) - 1, 0)
    lengths = frame[_HEAD_BYTES:starts]
    last = len(frame) - starts - sum(lengths) - CHECK_BYTES * len(portions)
    if not portions or head & 7 != _length_check(lengths) or last < 0:
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the lengths of the frame's payloads are damaged")
    bodies = []
    for portion, length in zip(portions, [*lengths, last], strict=True):
        end = starts + length + CHECK_BYTES
        bodies.append((portion, frame[starts:end]))
        starts = end
    return head >> 10 & 7, bodies


def _fields(quality: int, portions: Portion) -> int:
    """Version (2 bits), type (1), quality (3) and mask of portions (3), the most significant bit first."""
    return FORMAT_VERSION << 7 | KEY_FRAME << 6 | quality << 3 | portions.value


def _payload_check(quality: int, portion: Portion, payload: bytes, model_hash: bytes) -> bytes:
    """One byte over the model's hash, the head's fields with this portion alone, and the payload."""
    seed = model_hash[:HASH_BYTES] + (_fields(quality, portion) << 7).to_bytes(_HEAD_BYTES, "big")
    table, check = _payload_table(), 0
    for byte in seed + payload:
        check = table[check ^ byte]
    return bytes((check,))


def _length_check(lengths: bytes) -> int:
    """Return the three bits that, with ``lengths`` after them, are divisible by the check's polynomial."""
    # x^7 is 1 modulo the polynomial, so dividing by x^n is multiplying by x^(-n mod 7).
    return _modulo(int.from_bytes(lengths, "big") << -8 * len(lengths) % 7, _LENGTH_POLYNOMIAL)


@cache
def _payload_table() -> tuple[int, ...]:
    return tuple(_modulo(byte << 8, _PAYLOAD_POLYNOMIAL) for byte in range(256))


def _modulo(value: int, polynomial: int) -> int:
    """Return ``value`` modulo ``polynomial``, both polynomials over GF(2), the most significant bit first."""
    size = polynomial.bit_length()
    while (excess := value.bit_length() - size) >= 0:
        value ^= polynomial << excess
    return value


def _union(portions: Iterable[Portion]) -> Portion:
    union = Portion(0)
    for portion in portions:
        union |= portion
    return union


def _name(portion: Portion) -> str:
    return str(portion.name).lower()
