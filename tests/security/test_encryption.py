from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.model.errors import Misconfigured
from clarion.model.words import Channel
from clarion.security.encryption import (
    CannotOpen,
    Erased,
    KeyRing,
    Lookup,
    Purpose,
    binding,
    new_data_key,
    new_lookup_secret,
    unwrap_lookup_secret,
    wrap_lookup_secret,
)

RING = KeyRing({"k1": b"1" * 32})
DATA_KEY = new_data_key()
AAD = binding(1, Purpose.EVENT, b"e" * 16)

rows = st.lists(st.text(max_size=5) | st.binary(max_size=5), max_size=3)


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.mark.parametrize("key", [RING, DATA_KEY], ids=["ring", "data key"])
class TestWhateverSeals:
    @given(plain=st.binary(max_size=300))
    def test_what_is_sealed_opens_to_what_it_was(self, key: KeyRing, plain: bytes) -> None:
        assert key.open(key.seal(plain, AAD), AAD) == plain

    def test_the_same_text_is_never_sealed_to_the_same_bytes(self, key: KeyRing) -> None:
        assert len({key.seal(b"x", AAD) for _ in range(100)}) == 100

    @given(plain=st.binary(max_size=20), data=st.data())
    def test_any_flipped_bit_is_noticed(self, key: KeyRing, plain: bytes, data: st.DataObject) -> None:
        sealed = bytearray(key.seal(plain, AAD))
        bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CannotOpen):
            key.open(bytes(sealed), AAD)

    @given(plain=st.binary(max_size=20), data=st.data())
    def test_a_value_cut_off_or_made_longer_is_noticed(self, key: KeyRing, plain: bytes, data: st.DataObject) -> None:
        sealed = key.seal(plain, AAD)
        end = data.draw(st.integers(0, len(sealed) - 1))
        for wrong in (sealed[:end], sealed + b"\0"):
            with pytest.raises(CannotOpen):
                key.open(wrong, AAD)

    @pytest.mark.parametrize(
        "elsewhere",
        [
            binding(2, Purpose.EVENT, b"e" * 16),
            binding(1, Purpose.INBOX, b"e" * 16),
            binding(1, Purpose.EVENT, b"f" * 16),
            binding(1, Purpose.EVENT),
            b"",
        ],
    )
    def test_a_value_opens_in_its_own_row_only(self, key: KeyRing, elsewhere: bytes) -> None:
        with pytest.raises(CannotOpen, match="another row"):
            key.open(key.seal(b"x", AAD), elsewhere)


@given(rows, rows)
def test_no_two_rows_have_the_same_binding(one: list[str | bytes], other: list[str | bytes]) -> None:
    def as_bytes(row: list[str | bytes]) -> list[bytes]:
        return [part.encode() if isinstance(part, str) else part for part in row]

    same = binding(1, Purpose.CONTACT, *one) == binding(1, Purpose.CONTACT, *other)
    assert same == (as_bytes(one) == as_bytes(other))


def test_the_envelope_is_as_the_design_says() -> None:
    sealed = RING.seal(b"plain", AAD)
    assert sealed[:4] == b"\x01\x02k1"
    assert len(sealed) == 4 + 12 + len(b"plain") + 16


class TestRotation:
    OLD = KeyRing.parse(f"k1:{encoded(b'1' * 32)}")
    BOTH = KeyRing.parse(f"k2:{encoded(b'2' * 32)},k1:{encoded(b'1' * 32)}")
    NEW = KeyRing.parse(f"k2:{encoded(b'2' * 32)}")

    def test_the_first_key_seals_and_all_open(self) -> None:
        old, new = self.OLD.seal(b"x", AAD), self.BOTH.seal(b"x", AAD)
        assert self.BOTH.open(old, AAD) == self.BOTH.open(new, AAD) == self.NEW.open(new, AAD) == b"x"

    def test_what_another_key_sealed_needs_rotation(self) -> None:
        assert self.BOTH.needs_rotation(self.OLD.seal(b"x", AAD))
        assert not self.BOTH.needs_rotation(self.BOTH.seal(b"x", AAD))

    def test_a_key_that_is_gone_is_named(self) -> None:
        with pytest.raises(CannotOpen, match="'k1', which isn't in the ring: add it to CLARION_ENCRYPTION_KEYS"):
            self.NEW.open(self.OLD.seal(b"x", AAD), AAD)

    def test_another_key_under_the_same_id_opens_nothing(self) -> None:
        with pytest.raises(CannotOpen):
            KeyRing({"k1": b"9" * 32}).open(self.OLD.seal(b"x", AAD), AAD)

    def test_a_wrapped_data_key_moves_to_the_new_key_and_opens_what_it_sealed_before(self) -> None:
        # Given a person's key and address, sealed before the rotation
        key = new_data_key()
        address, wrapped = key.seal(b"ada@example.com", AAD), self.OLD.wrap(key, 1, "u1")
        # When the key is wrapped anew
        rotated = self.BOTH.wrap(self.BOTH.unwrap(wrapped, 1, "u1"), 1, "u1")
        # Then the old installation key is no longer needed
        assert self.NEW.unwrap(rotated, 1, "u1").open(address, AAD) == b"ada@example.com"


@given(st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=20)), max_size=20))
def test_many_values_are_sealed_and_opened_in_order(values: list[tuple[bytes, bytes]]) -> None:
    sealed = RING.seal_many(values)
    assert RING.open_many(zip(sealed, (aad for _, aad in values), strict=True)) == [plain for plain, _ in values]
    assert len({s[4:16] for s in sealed}) == len(values)  # every nonce is its own


class TestDataKeys:
    def test_a_wrapped_key_belongs_to_its_recipient_and_project(self) -> None:
        wrapped = RING.wrap(DATA_KEY, 1, "u1")
        assert RING.unwrap(wrapped, 1, "u1").raw == DATA_KEY.raw
        for project, recipient in ((2, "u1"), (1, "u2")):
            with pytest.raises(CannotOpen):
                RING.unwrap(wrapped, project, recipient)

    def test_a_recipient_without_a_key_is_erased(self) -> None:
        with pytest.raises(Erased):
            RING.unwrap(None, 1, "u1")

    def test_one_persons_key_opens_nothing_of_another(self) -> None:
        with pytest.raises(CannotOpen):
            new_data_key().open(DATA_KEY.seal(b"x", AAD), AAD)

    def test_the_ring_and_a_data_key_do_not_take_each_others_values(self) -> None:
        with pytest.raises(CannotOpen):
            RING.open(DATA_KEY.seal(b"x", AAD), AAD)
        with pytest.raises(CannotOpen, match="data key"):
            DATA_KEY.open(RING.seal(b"x", AAD), AAD)


class TestParsing:
    def test_what_text_gives_parse_takes(self) -> None:
        ring = KeyRing.generate()
        again = KeyRing.parse(ring.text())
        assert again.primary == ring.primary
        assert again.open(ring.seal(b"x", AAD), AAD) == b"x"

    @given(st.binary(min_size=32, max_size=32))
    def test_both_alphabets_of_base64_are_taken_with_or_without_padding(self, key: bytes) -> None:
        sealed = KeyRing({"k": key}).seal(b"x", AAD)
        for text in (base64.b64encode(key), base64.urlsafe_b64encode(key), base64.b64encode(key).rstrip(b"=")):
            assert KeyRing.parse(f" k:{text.decode()} ").open(sealed, AAD) == b"x"

    @pytest.mark.parametrize(
        "text, says",
        [
            ("", "entry 1 isn't of the form kid:base64"),
            ("   ", "entry 1"),
            (encoded(b"1" * 32), "entry 1"),
            (f"k1:{encoded(b'1' * 32)},", "entry 2"),
            (f":{encoded(b'1' * 32)}", "entry 1"),
            (f"{'k' * 33}:{encoded(b'1' * 32)}", "entry 1"),
            (f"k 1:{encoded(b'1' * 32)}", "entry 1"),
            ("k1:", "'k1' is 0 bytes and not 32"),
            (f"k1:{encoded(b'1' * 31)}", "'k1' is 31 bytes and not 32"),
            (f"k1:{encoded(b'1' * 33)}", "'k1' is 33 bytes and not 32"),
            ("k1:not*base64*at*all", "'k1' isn't base64"),
            ("k1:ü", "'k1' isn't base64"),
            (f"k1:{encoded(b'1' * 32)},k1:{encoded(b'2' * 32)}", "'k1' stands there twice"),
        ],
    )
    def test_a_wrong_setting_is_named_with_its_mend_and_without_any_key(self, text: str, says: str) -> None:
        with pytest.raises(Misconfigured) as refusal:
            KeyRing.parse(text)
        message = str(refusal.value)
        assert says in message
        assert message.startswith("CLARION_ENCRYPTION_KEYS: ")
        assert "openssl rand -base64 32" in message
        assert encoded(b"1" * 32) not in message
        assert "not*base64" not in message

    def test_nothing_that_holds_a_key_shows_it(self) -> None:
        ring, key = KeyRing({"k1": b"secret-" * 4 + b"1234"}), new_data_key()
        assert repr(ring) == "KeyRing(k1)"
        assert repr(key) == "DataKey(...)"
        assert repr(Lookup(b"secret")) == "Lookup(...)"


class TestLookups:
    LOOKUP = Lookup(b"s" * 32)

    def test_one_address_has_one_hash_of_16_bytes(self) -> None:
        hashes = {
            self.LOOKUP.hash(1, Channel.EMAIL, a) for a in ("Ada@Example.com", "ada@example.com", "ADA@EXAMPLE.COM")
        }
        assert [len(h) for h in hashes] == [16]

    def test_project_channel_address_and_secret_all_count(self) -> None:
        hashes = [
            self.LOOKUP.hash(1, Channel.EMAIL, "ada@example.com"),
            self.LOOKUP.hash(2, Channel.EMAIL, "ada@example.com"),
            self.LOOKUP.hash(1, Channel.CHAT, "ada@example.com"),
            self.LOOKUP.hash(1, Channel.EMAIL, "bob@example.com"),
            Lookup(b"t" * 32).hash(1, Channel.EMAIL, "ada@example.com"),
        ]
        assert len(set(hashes)) == 5

    def test_the_secret_outlives_a_rotation_of_the_ring(self) -> None:
        # Given a secret wrapped under the old key
        secret = new_lookup_secret()
        wrapped = wrap_lookup_secret(TestRotation.OLD, secret)
        # When the ring gets a new key and the secret is wrapped anew
        rewrapped = wrap_lookup_secret(TestRotation.BOTH, unwrap_lookup_secret(TestRotation.BOTH, wrapped))
        # Then it is the same secret, so that every stored hash still holds
        assert unwrap_lookup_secret(TestRotation.NEW, rewrapped) == secret
