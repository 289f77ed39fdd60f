r"""Takes terminal sequences out of lines: colours, cursor movements, titles, links.

Pure. Lines are kept as they were printed; this is for those who ask for them without. What is taken out is what
a terminal would act upon and not show (ECMA-48; xterm's control sequences):

- CSI, ``ESC [``, with parameters and intermediates up to the final byte; also where the line ends before it;
- strings: OSC ``ESC ]`` (titles, links) and DCS, SOS, PM, APC, up to BEL or ST; one that does not end on its line
  loses its introducer alone, as what follows may be meant to be read;
- other escapes: ``ESC``, intermediates, one final byte; a lone ``ESC``;
- the same introducers as single C1 characters, written in UTF-8 (``C2 80`` to ``C2 9F``), and CSI as the single byte
  ``9B`` where it cannot be part of a character and parameters follow; other single bytes may be text of an older
  encoding.
"""

from __future__ import annotations

import re
from typing import Final

from scheduler.logs.lines import without_ending

# Every alternative begins with a byte that none of the repetitions takes, or that ends them: the time is linear.
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
    """A line without terminal sequences; its ending stays."""
    if b"\x1b" not in line and line.isascii():
        return line
    text = without_ending(line)
    return _SEQUENCE.sub(b"", text) + line[len(text) :]
