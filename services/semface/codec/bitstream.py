"""The frame: two bytes of head, a length for each payload but the last, then payloads, each with a check of its own.

A predicted frame, which only a session can read, has 4 bits of head, one check of 8 bits and one payload.
``docs/bitstream.md`` is the specification. Whoever has no codec model (a relay) can read a frame's outline and drop
payloads; whoever has one can also tell that the payloads are whole and made by the same model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from semface.codec.payload_check import PAYLOAD_POLYNOMIAL, crc8, crc8_all
from semface.descriptors import Portion, union
from semface.errors import Reason, SemfaceError

FORMAT_VERSION: Final = 0
"""The version that this package writes and reads; the field has two bits."""

KEY_FRAME: Final = 0
"""The frame type that stands alone."""

PREDICTED_FRAME: Final = 1
"""The frame type that only a session can read, after the frames before it."""

MAX_PREDICTED: Final = 255
"""So many predicted frames may follow a key frame: their number is in their check, in one byte."""

MIN_PREDICTED_BYTES: Final = 2

PREDICTED_OVERHEAD_BITS: Final = 12
"""Head and check of a predicted frame."""

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


@dataclass(frozen=True, slots=True)
class Outline:
    """What a frame says of itself without any model: quality index and the bytes of each payload, checks left out."""

    quality: int
    sizes: Mapping[Portion, int]

    @property
    def portions(self) -> Portion:
        """The portions present."""
        return union(self.sizes)


def pack(quality: int, payloads: Mapping[Portion, bytes], model_hash: bytes) -> bytes:
    """Return the frame of ``payloads`` (at least one) coded at ``quality`` (0…7) by the model of ``model_hash``.

    Raises ``ValueError`` when a value does not fit its field.
    """
    return pack_all(quality, {portion: [payload] for portion, payload in payloads.items()}, model_hash)[0]


def pack_all(quality: int, payloads: Mapping[Portion, Sequence[bytes]], model_hash: bytes) -> list[bytes]:
    """Return the frame of each of N faces; ``payloads`` holds N for each portion that is sent. Raises as ``pack``."""
    if not payloads or not 0 <= quality < MAX_QUALITIES:
        raise ValueError("a frame needs at least one payload and a quality below 8")
    portions = [portion for portion in PORTION_ORDER if portion in payloads]
    checked = []
    for portion in portions:
        checks = crc8_all(payloads[portion], _seed(quality, portion, model_hash))
        checked.append([payload + bytes((check,)) for payload, check in zip(payloads[portion], checks, strict=True)])
    fields = _fields(quality, union(portions))
    return [_assemble(fields, bodies) for bodies in zip(*checked, strict=True)]


def outline(frame: bytes) -> Outline:
    """Return what ``frame`` says of itself; only its head and lengths are checked.

    Raises BITSTREAM_TOO_LARGE, BITSTREAM_VERSION or BITSTREAM_CORRUPT.
    """
    quality, bodies = split(frame)
    return Outline(quality, {portion: len(body) - CHECK_BYTES for portion, body in bodies})


def unpack(frame: bytes, model_hash: bytes) -> tuple[int, dict[Portion, bytes]]:
    """Return quality and payloads of ``frame``, every check passed.

    Raises BITSTREAM_TOO_LARGE, BITSTREAM_VERSION, or BITSTREAM_CORRUPT when the frame is damaged or another codec model
    made it.
    """
    quality, bodies = split(frame)
    for portion, body in bodies:
        if first_damaged(quality, portion, [body], model_hash) is not None:
            raise damaged_payload(portion)
    return quality, {portion: body[:-CHECK_BYTES] for portion, body in bodies}


def first_damaged(quality: int, portion: Portion, bodies: Sequence[bytes], model_hash: bytes) -> int | None:
    """Return which of ``bodies``, payloads of one portion each with its check, is the first whose check fails."""
    # Dividing the check too leaves nothing of what is whole.
    remainders = crc8_all(bodies, _seed(quality, portion, model_hash))
    return next((index for index, remainder in enumerate(remainders) if remainder), None)


def damaged_payload(portion: Portion) -> SemfaceError:
    """Return the error of a payload whose check fails."""
    message = f"the {str(portion.name).lower()} payload is damaged or of another codec model"
    return SemfaceError(Reason.BITSTREAM_CORRUPT, message)


def drop(frame: bytes, portion: Portion) -> bytes:
    """Return ``frame`` without the payloads of ``portion``; needs no model, and keeps the other payloads' checks.

    A portion that is absent changes nothing. Raises GROUP_ABSENT when no payload would be left, and what ``outline``
    raises.
    """
    quality, bodies = split(frame)
    left = {present: body for present, body in bodies if present not in portion}
    if not left:
        raise SemfaceError(Reason.GROUP_ABSENT, "a frame must keep at least one payload")
    return _assemble(_fields(quality, union(left)), list(left.values()))


def is_predicted(frame: bytes) -> bool:
    """Return whether ``frame`` calls itself a predicted one of this version."""
    return bool(frame) and frame[0] >> 5 == FORMAT_VERSION << 1 | PREDICTED_FRAME


def pack_predicted(series: int, payload: bytes, reference: bytes) -> bytes:
    """Return the predicted frame of ``payload``, whose first 4 bits are free, in a ``series`` (0 or 1).

    ``reference`` is what the check vouches for beside the frame: model, key frame and number.
    """
    first = (FORMAT_VERSION << 3 | PREDICTED_FRAME << 1 | series) << 4
    frame = bytes((first,)) + payload
    # The check stands before the payload: moved there, it makes reference and frame divisible.
    behind = 8 * len(payload) - 4
    check = _modulo(_predicted_remainder(frame, reference) << -behind % 127, PAYLOAD_POLYNOMIAL)
    return (int.from_bytes(frame, "big") | check << behind).to_bytes(len(frame), "big")


def unpack_predicted(frame: bytes, reference: bytes) -> tuple[int, bytes]:
    """Return series and payload, its first 4 bits 0, of a predicted frame.

    Raises BITSTREAM_TOO_LARGE, or BITSTREAM_CORRUPT when it is damaged or not the one after ``reference``.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise SemfaceError(Reason.BITSTREAM_TOO_LARGE, f"a frame has {MAX_FRAME_BYTES} bytes at most")
    if len(frame) < MIN_PREDICTED_BYTES or not is_predicted(frame) or _predicted_remainder(frame, reference):
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the predicted frame is damaged, or one before it is missing")
    return frame[0] >> 4 & 1, bytes((frame[1] & 15,)) + frame[2:]


def _predicted_remainder(frame: bytes, reference: bytes) -> int:
    check = crc8(reference + frame)
    # The table works on the number times x^8; undo that.
    return _modulo(check << -8 % 127, PAYLOAD_POLYNOMIAL)


def _assemble(fields: int, bodies: Sequence[bytes]) -> bytes:
    """Return the frame of ``bodies``, payloads with their checks, after a head of ``fields``."""
    lengths = bytes(map(_length, bodies[:-1]))
    return (_head(fields) | _length_check(lengths)).to_bytes(_HEAD_BYTES, "big") + lengths + b"".join(bodies)


@lru_cache
def _head(fields: int) -> int:
    """Return the head with its own check, that of the lengths left open."""
    return fields << 7 | _modulo(fields << 4, _HEAD_POLYNOMIAL) << 3


def _length(body: bytes) -> int:
    if len(body) - CHECK_BYTES > _MAX_LENGTH:
        raise ValueError("a payload that another follows can have 255 bytes at most")
    return len(body) - CHECK_BYTES


def split(frame: bytes) -> tuple[int, list[tuple[Portion, bytes]]]:
    """Return quality and (portion, payload with its check) in order; only head and lengths are checked.

    Raises what ``outline`` raises.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise SemfaceError(Reason.BITSTREAM_TOO_LARGE, f"a frame has {MAX_FRAME_BYTES} bytes at most")
    if len(frame) < _HEAD_BYTES:
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the head of the frame is damaged")
    if is_predicted(frame):
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the frame is damaged, or predicted: only its session can read it")
    quality, portions = _read_head(int.from_bytes(frame[:_HEAD_BYTES], "big") >> 3)
    starts = _HEAD_BYTES + max(len(portions) - 1, 0)
    lengths = frame[_HEAD_BYTES:starts]
    last = len(frame) - starts - sum(lengths) - CHECK_BYTES * len(portions)
    if not portions or frame[_HEAD_BYTES - 1] & 7 != _length_check(lengths) or last < 0:
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the lengths of the frame's payloads are damaged")
    bodies = []
    for portion, length in zip(portions, [*lengths, last], strict=True):
        end = starts + length + CHECK_BYTES
        bodies.append((portion, frame[starts:end]))
        starts = end
    return quality, bodies


@lru_cache
def _read_head(head: int) -> tuple[int, tuple[Portion, ...]]:
    """Return quality and portions of the first 13 bits of a frame."""
    if _modulo(head, _HEAD_POLYNOMIAL):
        raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the head of the frame is damaged")
    if head >> 11 != FORMAT_VERSION:
        raise SemfaceError(Reason.BITSTREAM_VERSION, "the frame's version is newer than this decoder; update semface")
    return head >> 7 & 7, tuple(portion for portion in PORTION_ORDER if head >> 4 & portion.value)


def _fields(quality: int, portions: Portion) -> int:
    """Version (2 bits), type (1), quality (3) and mask of portions (3), the most significant bit first."""
    return FORMAT_VERSION << 7 | KEY_FRAME << 6 | quality << 3 | portions.value


@lru_cache
def _seed(quality: int, portion: Portion, model_hash: bytes) -> int:
    """Return the check's state after the model's hash and the head's fields with this portion alone."""
    return crc8(model_hash[:HASH_BYTES] + (_fields(quality, portion) << 7).to_bytes(_HEAD_BYTES, "big"))


@lru_cache(maxsize=4096)
def _length_check(lengths: bytes) -> int:
    """Return the three bits that, with ``lengths`` after them, are divisible by the check's polynomial."""
    # x^7 is 1 modulo the polynomial, so dividing by x^n is multiplying by x^(-n mod 7).
    return _modulo(int.from_bytes(lengths, "big") << -8 * len(lengths) % 7, _LENGTH_POLYNOMIAL)


def _modulo(value: int, polynomial: int) -> int:
    """Return ``value`` modulo ``polynomial``, both polynomials over GF(2), the most significant bit first."""
    size = polynomial.bit_length()
    while (excess := value.bit_length() - size) >= 0:
        value ^= polynomial << excess
    return value
