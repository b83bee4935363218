"""Between arrays and the messages of ``semface.v1``: vectors, descriptors, portions, models.

Servers and clients share it, so that a vector means the same on both sides of the wire. ``field`` is the path of a
message within its request, such as ``faces[3].descriptors``; errors name it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semface.descriptors import DESCRIPTOR_SIZE, GROUP_SIZES, GROUPS, PORTION_GROUPS, Descriptors, Portion, validate
from semface.errors import Reason, SemfaceError
from semface.v1 import descriptors_pb2

_WIRE_FLOAT: Final = np.dtype("<f4")

LARGEST: Final = 1e6
"""No face has a number beyond this; far larger ones overflow inside the networks."""

PORTIONS: Final = MappingProxyType(
    {
        Portion.IDENTITY: descriptors_pb2.PORTION_IDENTITY,
        Portion.EXPRESSION: descriptors_pb2.PORTION_EXPRESSION,
        Portion.ILLUMINATION: descriptors_pb2.PORTION_ILLUMINATION,
    }
)
"""Each portion to its value on the wire."""

_PORTIONS_BY_NUMBER: Final = MappingProxyType({int(number): portion for portion, number in PORTIONS.items()})


def pack_vector(values: ArrayLike) -> bytes:
    """Return ``values`` (size,) as little-endian float32, 4 × size bytes."""
    return np.asarray(values, dtype=_WIRE_FLOAT).tobytes()


def unpack_vector(data: bytes, size: int, field: str) -> NDArray[np.float32]:
    """Return the ``size`` numbers of ``data`` as a float32 array of shape (size,).

    Raises DESCRIPTOR_SHAPE when ``data`` is not 4 × ``size`` bytes long, NOT_FINITE for a NaN or an infinity, and
    FIELD_INVALID for a number beyond ±``LARGEST``.
    """
    if len(data) != _WIRE_FLOAT.itemsize * size:
        raise SemfaceError(
            Reason.DESCRIPTOR_SHAPE,
            f"{field}: expected {size} float32 ({_WIRE_FLOAT.itemsize * size} bytes), got {len(data)} bytes",
            field=field,
        )
    values = np.frombuffer(data, dtype=_WIRE_FLOAT).astype(np.float32)
    if not np.isfinite(values).all():
        raise SemfaceError(Reason.NOT_FINITE, f"{field}: numbers must be finite; NaN or infinity found", field=field)
    require_plausible(values, field)
    return values


def require_plausible(values: NDArray[np.float32], field: str) -> None:
    """Raise FIELD_INVALID for a number beyond ±``LARGEST`` in ``values`` (size,)."""
    if np.abs(values).max() > LARGEST:
        raise SemfaceError(Reason.FIELD_INVALID, f"{field}: numbers must be within ±{LARGEST:,.0f}", field=field)


def pack_descriptors(values: ArrayLike, portions: Portion = Portion.ALL) -> descriptors_pb2.Descriptors:
    """Return ``values`` (257,) as a message with the groups of ``portions``; the other groups stay absent."""
    vector = validate(values)[0]
    return descriptors_pb2.Descriptors(**{name: pack_vector(vector[GROUPS[name]]) for name in _groups_of(portions)})


@lru_cache(maxsize=8)
def _groups_of(portions: Portion) -> tuple[str, ...]:
    return tuple(name for portion in portions for name in PORTION_GROUPS[portion])


def unpack_descriptors(message: descriptors_pb2.Descriptors, field: str) -> tuple[Descriptors, Portion]:
    """Return the numbers (257,) of ``message``, absent groups 0, and the portions whose groups are all present.

    Raises what ``unpack_vector`` raises, naming the group at fault.
    """
    values = np.zeros(DESCRIPTOR_SIZE, dtype=np.float32)
    present = set()
    for name, size in GROUP_SIZES.items():
        data: bytes = getattr(message, name)
        if data:
            values[GROUPS[name]] = unpack_vector(data, size, f"{field}.{name}")
            present.add(name)
    portions = Portion(0)
    for portion, names in PORTION_GROUPS.items():
        if present.issuperset(names):
            portions |= portion
    return values, portions


def unpack_all_descriptors(
    messages: Sequence[descriptors_pb2.Descriptors], field: str
) -> tuple[Descriptors, list[Portion]]:
    """Return the numbers (N, 257) of a repeated field and each item's portions; errors name the item: ``field[3]``."""
    values = np.zeros((len(messages), DESCRIPTOR_SIZE), dtype=np.float32)
    portions = []
    for index, message in enumerate(messages):
        values[index], present = unpack_descriptors(message, f"{field}[{index}]")
        portions.append(present)
    return values, portions


def pack_portions(portions: Portion) -> list["descriptors_pb2.Portion.ValueType"]:
    """Return the wire values of ``portions``, in the order of the payloads of a frame."""
    return [PORTIONS[portion] for portion in PORTIONS if portion in portions]


def unpack_portions(numbers: Iterable[int], field: str) -> Portion:
    """Return the portions of a repeated field, all where it is empty.

    Raises ENUM_UNSPECIFIED for an unset value and FIELD_INVALID for one that is unknown or comes twice.
    """
    portions = Portion(0)
    for index, number in enumerate(numbers):
        where = f"{field}[{index}]"
        if number == descriptors_pb2.PORTION_UNSPECIFIED:
            raise SemfaceError(Reason.ENUM_UNSPECIFIED, f"{where}: a portion has to be named", field=where)
        portion = _PORTIONS_BY_NUMBER.get(number)
        if portion is None:
            raise SemfaceError(Reason.FIELD_INVALID, f"{where}: there is no portion {number}", field=where)
        if portion in portions:
            raise SemfaceError(Reason.FIELD_INVALID, f"{where}: a portion comes twice", field=where)
        portions |= portion
    return portions or Portion.ALL


def require_items(count: int, field: str, maximum: int) -> None:
    """Raise FIELD_INVALID unless a batch has 1 to ``maximum`` items."""
    if not 1 <= count <= maximum:
        raise SemfaceError(Reason.FIELD_INVALID, f"{field}: expected 1 to {maximum} items, got {count}", field=field)


def pack_model(name: str, version: str, sha256: str, engine: str) -> descriptors_pb2.Model:
    """Return a model's message; ``sha256`` is the hash of its files in hexadecimal, of which 8 bytes travel.

    ``engine`` is the name of what ran it.
    """
    return descriptors_pb2.Model(name=name, version=version, hash=int(sha256[:16], 16), engine=engine)
