"""Starts the command, unless another project's `scheduler` or `api` would be imported in place of Timeball's.

These two names are common: PYTHONPATH, the current directory (with ``python -m timeball``) or another distribution in
the same environment may provide them too. This package has a name of its own, so it is found when the others are not.
It uses only the standard library, and executes nothing of the foreign packages.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Final

#: Timeball's own packages.
PACKAGES: Final = ("scheduler", "api")
#: A word in the first lines of each: it is missing if another distribution has overwritten them.
MARK: Final = b"Timeball"
_HERE: Final = Path(__file__).resolve().parent
#: The directory of the packages: beside this one, or the top of the checkout in an editable installation.
HOME: Final = _HERE.parents[2] if _HERE.parts[-3:-1] == ("deploy", "entry") else _HERE.parent
OWN_ENVIRONMENT: Final = (
    "Install Timeball in an environment of its own: with pipx, or in a new virtual environment"
)


def main() -> None:
    """Run the command, or say what prevents it and exit with status 2."""
    for name in PACKAGES:
        if (fault := find_fault(name)) is not None:
            sys.stderr.write(f"timeball: {fault}.\n")
            sys.exit(2)
    from api.cli.main import main as command  # noqa: PLC0415 - only now is it known to be ours

    command(prog_name="timeball")


def find_fault(name: str) -> str | None:
    """Why an import of this package would not get Timeball's, and what to do; None if it would."""
    own = HOME / name / "__init__.py"
    origin = _origin_of(name)
    if origin is None or not own.is_file():
        return f"The package '{name}' of Timeball is missing in {HOME}. Install Timeball again"
    if not (origin.exists() and origin.samefile(own)):
        return f"'{name}' is {origin} here, which hides Timeball's own package in {HOME}. {_remedy(origin)}"
    if MARK not in own.read_bytes()[:1000]:
        return (
            f"Another distribution has overwritten Timeball's package '{name}' in {HOME}. {OWN_ENVIRONMENT}"
        )
    return None


def _origin_of(name: str) -> Path | None:
    """The file that an import would execute; the package's directory if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # something has put a module without a specification into sys.modules
        return Path("an unknown module")
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin)
    return next((Path(each) for each in spec.submodule_search_locations or ()), None)


def _remedy(origin: Path) -> str:
    """What to do about a package that is found before Timeball's."""
    folder = origin.parent.parent if origin.name == "__init__.py" else origin.parent
    listed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if any(each and Path(each).absolute() == folder for each in listed):
        return f"Remove {folder} from PYTHONPATH"
    if folder == Path.cwd():
        return "Use the command 'timeball' instead of 'python -m timeball', or start it in another directory"
    return OWN_ENVIRONMENT


if __name__ == "__main__":
    main()
