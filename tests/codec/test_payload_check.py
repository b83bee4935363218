"""The CRC after each payload."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semface.codec.payload_check import crc8, crc8_all
from tests.codec.plain_decoder import divide


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_the_check_is_the_remainder_by_long_division(message: bytes) -> None:
    assert crc8(message) == divide(int.from_bytes(message) << 8, 0x107)


@given(st.binary(max_size=20), st.binary(max_size=20))
@settings(deadline=None)
def test_a_message_can_be_checked_in_two_parts(first: bytes, second: bytes) -> None:
    assert crc8(second, crc8(first)) == crc8(first + second)


@given(st.lists(st.binary(max_size=300), min_size=30, max_size=40), st.integers(0, 255))
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_many_messages_are_checked_as_each_alone(messages: list[bytes], start: int) -> None:
    assert crc8_all(messages, start) == [crc8(message, start) for message in messages]


def test_messages_of_every_length_are_checked_as_each_alone() -> None:
    messages = [bytes((length * 7 + place) % 256 for place in range(length)) for length in range(400)]
    for start in (0, 1, 255):
        assert crc8_all(messages, start) == [crc8(message, start) for message in messages]
