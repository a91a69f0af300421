"""Keys of rows."""

from voice_agent.storage.ids import new_id


def test_a_key_is_a_uuid_of_version_7() -> None:
    key = new_id()

    assert key.version == 7
    assert key.variant == "specified in RFC 4122"


def test_keys_come_in_the_order_of_their_milliseconds_and_never_twice() -> None:
    keys = [new_id() for _ in range(10_000)]

    assert len(set(keys)) == len(keys)
    stamps = [key.int >> 80 for key in keys]
    assert stamps == sorted(stamps)
