"""Secrets sealed for the database, and hidden in what containers print."""

from __future__ import annotations

import random
import stat
from pathlib import Path

import pytest

from scheduler.domain.errors import SettingsError
from scheduler.domain.stream import Stream
from scheduler.secrets.keys import KEY_FILE, load_keyring
from scheduler.secrets.masking import Masks
from scheduler.secrets.sealing import Keyring, SealError, new_key
from scheduler.settings.settings import Settings


def test_what_is_sealed_is_opened_again_at_its_place_alone() -> None:
    """Neither the text nor a part of it is in what is stored, and twice the same looks different."""
    keyring = Keyring([new_key()])
    stored = keyring.seal("grüße, 世界", "secret:a/b")
    assert keyring.unseal(stored, "secret:a/b") == "grüße, 世界"
    assert keyring.seal("grüße, 世界", "secret:a/b") != stored
    with pytest.raises(SealError, match="copied from another place"):
        keyring.unseal(stored, "secret:other/b")
    with pytest.raises(SealError):
        keyring.unseal(stored[:-4] + "AAA=", "secret:a/b")
    with pytest.raises(SealError, match="unknown format"):
        keyring.unseal("plain:x", "secret:a/b")


def test_a_new_key_opens_what_a_former_one_has_sealed_while_that_is_there() -> None:
    """Without it, the error names which key is missing."""
    former, present = new_key(), new_key()
    stored = Keyring([former]).seal("x", "p")
    both = Keyring([present, former])
    assert both.unseal(stored, "p") == "x"
    assert not both.is_current(stored)
    assert both.is_current(both.seal("x", "p"))
    with pytest.raises(SealError, match="which this daemon does not have"):
        Keyring([present]).unseal(stored, "p")


def test_the_first_start_makes_a_key_for_its_owner_alone_and_the_next_reads_it(tmp_path: Path) -> None:
    """What was sealed before is opened after."""
    settings = Settings(data_dir=tmp_path)
    stored = load_keyring(settings, tmp_path).seal("x", "p")
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert load_keyring(settings, tmp_path).unseal(stored, "p") == "x"


def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path) -> None:
    """The message names where it stands."""
    path = tmp_path / "key"
    path.write_text("not-a-key-but-perhaps-a-password\n")
    with pytest.raises(SettingsError, match="secret_key_file") as refused:
        load_keyring(Settings(data_dir=tmp_path, secret_key_file=path), tmp_path)
    assert "perhaps" not in str(refused.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_keyring(Settings(data_dir=tmp_path, secret_key_file=tmp_path / "none"), tmp_path)
    path.write_text("")
    with pytest.raises(SettingsError, match="no key"):
        load_keyring(Settings(data_dir=tmp_path, secret_key_file=path), tmp_path)


def masked(pieces: list[bytes], *secrets: str) -> bytes:
    """What is shown of the pieces, once all have come."""
    masks = Masks(secrets)
    shown = [masks.hide([(Stream.STDOUT, piece, None)]) for piece in pieces]
    return b"".join(data for frames in (*shown, masks.rest()) for _, data, _ in frames)


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"the hunter2 is"], b"the ******* is"),
        ([b"the hun", b"ter2 is"], b"the ******* is"),
        ([b"h", b"u", b"n", b"t", b"e", b"r", b"2"], b"*******"),
        ([b"hunt", b"hunter2"], b"hunt*******"),
        ([b"hunter", b"!"], b"hunter!"),
        ([b"hunter"], b"hunter"),
        ([b"hunter2hunter2"], b"**************"),
        ([b""], b""),
    ],
)
def test_a_secret_is_masked_wherever_reads_cut_it(pieces: list[bytes], shown: bytes) -> None:
    """As many stars as it has bytes; what only begins like it is shown."""
    assert masked(pieces, "hunter2") == shown


def test_secrets_that_overlap_or_hold_each_other_are_masked_altogether() -> None:
    """No end of one stays because the beginning of another was found."""
    assert masked([b"ababab!"], "abab") == b"******!"
    assert masked([b"abab", b"x"], "abab") == b"****x"
    assert masked([b"abcdefgh"], "abcdef", "efgh") == b"********"
    assert masked([b"password1 password12"], "password1", "password12") == b"********* **********"


def test_short_values_are_left_and_a_last_line_break_does_not_save_a_secret() -> None:
    """A value of one letter would blot out everything; one from a file often ends in a line break."""
    assert masked([b"a man, a plan"], "a", "") == b"a man, a plan"
    assert masked([b"key: hunter2, done"], "hunter2\n") == b"key: *******, done"


def test_streams_are_masked_each_for_itself() -> None:
    """Half of a secret on one and half on the other is no secret, and none is lost."""
    masks = Masks(["hunter2"])
    shown = [
        *masks.hide([(Stream.STDOUT, b"hunt", None), (Stream.STDERR, b"er2", None)]),
        *masks.hide([(Stream.STDOUT, b"er2", None)]),
        *masks.rest(),
    ]
    assert b"".join(data for stream, data, _ in shown if stream is Stream.STDOUT) == b"*******"
    assert b"".join(data for stream, data, _ in shown if stream is Stream.STDERR) == b"er2"


def test_random_cuts_make_no_difference() -> None:
    """However the same bytes come, the same is shown, as long as before and without any of the secrets."""
    chance = random.Random(7)  # noqa: S311 - nothing is guarded by it
    for _ in range(300):
        secrets = ["".join(chance.choices("ab", k=chance.randint(4, 24))) for _ in range(3)]
        text = "".join(chance.choices([*"abc", *secrets], k=40)).encode()
        whole, pieces, place = masked([text], *secrets), [], 0
        while place < len(text):
            size = chance.randint(1, 9)
            pieces.append(text[place : place + size])
            place += size
        assert masked(pieces, *secrets) == whole
        assert len(whole) == len(text)
        assert not any(secret.encode() in whole for secret in secrets)
