r"""Removes terminal sequences from lines: colors, cursor movements, titles, links.

Pure. Lines are stored as they were printed; this is for clients that ask for them without sequences. Everything that
a terminal would interpret instead of showing it is removed (ECMA-48; xterm's control sequences):

- CSI, ``ESC [``, with parameters and intermediate bytes up to the final byte, even if the line ends before it;
- strings: OSC ``ESC ]`` (titles, links) and DCS, SOS, PM, APC, up to BEL or ST; of a string that does not end on its
  line, only the introducer is removed, because the rest may be meant to be read;
- other escapes: ``ESC``, intermediate bytes, one final byte; a single ``ESC``;
- the same introducers as single C1 characters in UTF-8 (``C2 80`` to ``C2 9F``), and CSI as the single byte ``9B`` if
  it cannot be part of a character and parameters follow; other single bytes may be text in an older encoding.
"""

from __future__ import annotations

import re
from typing import Final

from scheduler.logs.lines import without_ending

# Every alternative begins with a byte that ends each repetition or that none of them matches: the time is linear.
_SEQUENCE: Final = re.compile(
    rb"""
      (?: \x1b \[ | \xc2\x9b ) [0-?]* [\x20-/]* (?: [@-~] | \Z )?
    | (?<![\x80-\xff]) \x9b [0-?]+ [\x20-/]* [@-~]
    | (?: \x1b [\]PX^_] | \xc2 [\x90\x98\x9d\x9e\x9f] )
      (?: (?: [^\x07\x1b\xc2] | \xc2 (?![\x80-\x9f]) )* (?: \x07 | \x1b\\ | \xc2\x9c ) )?
    | \x1b [\x20-/]* [0-~]?
    | \xc2 [\x80-\x9f]
    """,
    re.VERBOSE,
)


def strip_ansi(line: bytes) -> bytes:
    """A line without terminal sequences; its line ending is kept."""
    if b"\x1b" not in line and line.isascii():
        return line
    text = without_ending(line)
    return _SEQUENCE.sub(b"", text) + line[len(text) :]
