"""Encryption at rest: the envelope, the ring of installation keys, a data key per recipient, keyed hashes for look-ups.

    envelope    version (1) | length of the key id (1) | key id | nonce (12) | ciphertext and tag (AES-256-GCM)

A value sealed by the ring names its key; one sealed under a recipient's data key names none: that key, wrapped by the
ring, is loaded beside it. What a value belongs to is bound into it (`binding`), so that it opens in its own row only.
Destroying a wrapped data key erases the person: nothing else opens what it sealed.

Nonces are random: one key is good for 2^32 values by the strict bound of NIST SP 800-38D. Event data is the only
thing that an installation seals in such numbers under one key; rotating now and then stays far below.

This module stores nothing but the key file; wrapped keys and sealed values are kept by those who own the rows.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
from collections.abc import Iterable
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from clarion.clock import randomness
from clarion.model.errors import ClarionError, Misconfigured
from clarion.model.words import Channel
from clarion.security.addresses import lookup_form

VERSION: Final = 1
KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
LOOKUP_SIZE: Final = 16

_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,32}")
_NO_KEY_ID: Final = bytes([VERSION, 0])


class Purpose(StrEnum):
    """What a sealed value is: part of what is bound into it."""

    DATA_KEY = "data_key"
    CONTACT = "contact"
    EVENT = "event"
    FACT = "fact"
    INBOX = "inbox"
    LOOKUP = "lookup"
    OUTBOX = "outbox"
    SUPPRESSION = "suppression"
    TOKEN = "token"  # nosec B105


class CannotOpen(ClarionError):
    """The value was tampered with, moved to another row, or sealed under a key that isn't here."""


class Erased(CannotOpen):
    """The person's data key was destroyed: what it sealed is gone for good."""


def binding(project: int, purpose: Purpose, *row: str | bytes) -> bytes:
    """The associated data of a value: no two rows, purposes or projects have the same."""
    parts = [b"%d:%s:" % (project, purpose.encode())]
    for part in row:
        data = part if isinstance(part, bytes) else part.encode()
        parts.append(b"%d:%s" % (len(data), data))
    return b"".join(parts)


class DataKey:
    """A recipient's own key. `raw` never leaves the process unwrapped."""

    __slots__ = ("_cipher", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._cipher = AESGCM(raw)

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        nonce = randomness(NONCE_SIZE)
        return _NO_KEY_ID + nonce + self._cipher.encrypt(nonce, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Raises CannotOpen."""
        if not sealed.startswith(_NO_KEY_ID):
            raise CannotOpen("this value wasn't sealed under a recipient's data key")
        return _decrypted(self._cipher, sealed, len(_NO_KEY_ID), aad)

    def __repr__(self) -> str:
        return "DataKey(...)"


def new_data_key() -> DataKey:
    """A fresh key for one recipient."""
    return DataKey(randomness(KEY_SIZE))


class KeyRing:
    """The installation's keys by id: the first one seals, all of them open."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._keys = keys
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self.primary: Final = next(iter(keys))
        self._header = bytes([VERSION, len(self.primary)]) + self.primary.encode()
        self._cipher = self._ciphers[self.primary.encode()]

    @classmethod
    def parse(cls, text: str, source: str = "CLARION_ENCRYPTION_KEYS") -> KeyRing:
        """A ring from `kid:base64,kid2:base64`. Raises Misconfigured, which names the source but repeats no key."""
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(text.split(","), start=1):
            key_id, colon, encoded = entry.strip().partition(":")
            if not colon or not _KEY_ID.fullmatch(key_id):
                raise _bad_keys(source, f"entry {number} isn't of the form kid:base64, kid being letters and digits")
            if key_id in keys:
                raise _bad_keys(source, f"the key id {key_id!r} stands there twice: give every key its own")
            try:
                keys[key_id] = _decoded_key(encoded)
            except ValueError as error:
                raise _bad_keys(source, f"what follows {key_id!r} {error}") from None
        return cls(keys)

    @classmethod
    def generate(cls) -> KeyRing:
        """A ring of one fresh key."""
        return cls({f"k{randomness(3).hex()}": randomness(KEY_SIZE)})

    def text(self) -> str:
        """What `parse` takes. A secret."""
        return ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in self._keys.items())

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        nonce = randomness(NONCE_SIZE)
        return self._header + nonce + self._cipher.encrypt(nonce, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """Raises CannotOpen."""
        key_id = _key_id_of(sealed)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            name = key_id.decode("ascii", "replace")
            raise CannotOpen(
                f"sealed under the key {name!r}, which isn't in the ring: add it to CLARION_ENCRYPTION_KEYS"
            )
        return _decrypted(cipher, sealed, 2 + len(key_id), aad)

    def seal_many(self, values: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Seals (plain, aad) pairs, drawing the nonces in one go."""
        pairs = list(values)
        drawn = randomness(NONCE_SIZE * len(pairs))
        header, encrypt = self._header, self._cipher.encrypt
        nonces = (drawn[at : at + NONCE_SIZE] for at in range(0, len(drawn), NONCE_SIZE))
        return [header + nonce + encrypt(nonce, plain, aad) for nonce, (plain, aad) in zip(nonces, pairs, strict=True)]

    def open_many(self, values: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
        """Opens (sealed, aad) pairs. Raises CannotOpen at the first that doesn't."""
        return [self.open(sealed, aad) for sealed, aad in values]

    def needs_rotation(self, sealed: bytes) -> bool:
        """Whether it is sealed under another key than the first."""
        return not sealed.startswith(self._header)

    def wrap(self, key: DataKey, project: int, recipient: str) -> bytes:
        """A recipient's data key as it is stored."""
        return self.seal(key.raw, binding(project, Purpose.DATA_KEY, recipient))

    def unwrap(self, wrapped: bytes | None, project: int, recipient: str) -> DataKey:
        """A recipient's data key from its row; None where there is no row. Raises Erased, CannotOpen."""
        if wrapped is None:
            raise Erased("this recipient has no data key: the person was erased")
        return DataKey(self.open(wrapped, binding(project, Purpose.DATA_KEY, recipient)))

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"


def _bad_keys(source: str, what: str) -> Misconfigured:
    return Misconfigured(f"{source}: {what} (a key is made with `openssl rand -base64 32`)")


def _decoded_key(encoded: str) -> bytes:
    """32 bytes from either alphabet of base64, padded or not. Raises ValueError."""
    standard = encoded.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        raise ValueError("isn't base64") from None
    if len(key) != KEY_SIZE:
        raise ValueError(f"is {len(key)} bytes and not {KEY_SIZE}")
    return key


def _key_id_of(sealed: bytes) -> bytes:
    if len(sealed) < 2 or sealed[0] != VERSION:
        raise CannotOpen("this isn't a sealed value, or a later release of Clarion sealed it")
    return sealed[2 : 2 + sealed[1]]


def _decrypted(cipher: AESGCM, sealed: bytes, start: int, aad: bytes) -> bytes:
    if len(sealed) < start + NONCE_SIZE + TAG_SIZE:
        raise CannotOpen("this sealed value is cut off")
    try:
        return cipher.decrypt(sealed[start : start + NONCE_SIZE], sealed[start + NONCE_SIZE :], aad)
    except InvalidTag:
        raise CannotOpen("this sealed value was changed, or belongs to another row") from None


# --- look-ups ---------------------------------------------------------------------------------------------------------


class Lookup:
    """Keyed hashes by which an address is found without being opened.

    The secret is its own and never rotates, because every stored hash hangs on it; it is kept wrapped by the ring.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def hash(self, project: int, channel: Channel, address: str) -> bytes:
        """16 bytes, the same for every way to write the address. By channel, as suppressions are."""
        return blake2b(
            b"%d:%s:%s" % (project, channel.encode(), lookup_form(channel, address).encode()),
            digest_size=LOOKUP_SIZE,
            key=self._secret,
        ).digest()

    def __repr__(self) -> str:
        return "Lookup(...)"


def new_lookup_secret() -> bytes:
    """A fresh secret for `Lookup`: made once, when the database is."""
    return randomness(KEY_SIZE)


def wrap_lookup_secret(ring: KeyRing, secret: bytes) -> bytes:
    """The secret as the database's meta table keeps it."""
    return ring.seal(secret, binding(0, Purpose.LOOKUP))


def unwrap_lookup_secret(ring: KeyRing, wrapped: bytes) -> bytes:
    """The secret from the meta table. Raises CannotOpen."""
    return ring.open(wrapped, binding(0, Purpose.LOOKUP))


# --- the key file -----------------------------------------------------------------------------------------------------

_FILE_HEADER = """\
# Clarion's encryption keys, in the form of CLARION_ENCRYPTION_KEYS. Without them nobody can read the personal data in
# the database: keep a copy in a safe place, apart from the database and its backups.
"""


def load_or_create_keys(path: Path, *, create: bool = True) -> KeyRing:
    """The ring of a key file, which is made, readable by its owner only, if it isn't there. Raises Misconfigured.

    Not `create`: there is data already that only the keys of the file that was there open.
    """
    try:
        if not path.exists():
            if not create:
                raise Misconfigured(
                    f"the key file {path} isn't there, and the database is sealed with its keys: put it back from your "
                    "copy, name it in CLARION_ENCRYPTION_KEYS_FILE, or give the keys in CLARION_ENCRYPTION_KEYS"
                )
            _create(path, _FILE_HEADER + KeyRing.generate().text() + "\n")
        return _load(path)
    except OSError as error:
        raise Misconfigured(
            f"can't use the key file {path} ({error.strerror}): mend that, or set CLARION_ENCRYPTION_KEYS instead"
        ) from None


def _create(path: Path, text: str) -> None:
    # Written aside and linked into place: the file appears whole or not at all, also when the power fails, and never
    # replaces another. Of several processes that start together, one wins and the others read what it wrote.
    draft = path.with_name(f"{path.name}.{randomness(8).hex()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _load(path: Path) -> KeyRing:
    with path.open(encoding="utf-8", errors="replace") as file:
        if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
            raise Misconfigured(f"others than its owner can read or change the key file {path}: run `chmod 600 {path}`")
        lines = [line.strip() for line in file]
    return KeyRing.parse(",".join(line for line in lines if line and not line.startswith("#")), str(path))
