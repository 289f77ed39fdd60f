"""Writes the two lock files from pyproject.toml, or checks without a network that they still match it.

Uses uv's resolver. The files contain no address of a package index, so they work with any index.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
RUNTIME, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)", re.MULTILINE)

Project = dict[str, list[Requirement]]


def read_project() -> Project:
    """The requirements in pyproject.toml by lock file.

    Both include the build backend, which installing requires, and the driver of PostgreSQL: what is installed from a
    lock file (the container image, the Debian package, a checkout) can use either database.
    """
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = text["project"]["optional-dependencies"]
    runtime = text["build-system"]["requires"] + text["project"]["dependencies"] + extras["postgresql"]
    return {
        RUNTIME.name: [Requirement(each) for each in runtime],
        DEV.name: [Requirement(each) for each in runtime + extras["dev"]],
    }


def read_pins(lock: Path) -> dict[str, str]:
    """The version of each package in a lock file."""
    return {canonicalize_name(name): version for name, version in PIN.findall(lock.read_text())}


def compile_lock(lock: Path, requirements: list[Requirement], *options: str) -> None:
    """Resolves the requirements into a lock file."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "-", "--output-file", lock.name,
        "--universal", "--python-version", "3.11", "--generate-hashes",
        "--no-header", "--no-annotate", "--no-emit-index-url", "--quiet", *options,
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, input="\n".join(map(str, requirements)), text=True, check=True)


def find_faults(project: Project) -> Iterator[str]:
    """A sentence for each way in which the lock files do not match pyproject.toml."""
    for lock in (RUNTIME, DEV):
        pins = read_pins(lock)
        for requirement in project[lock.name]:
            pinned = pins.get(canonicalize_name(requirement.name))
            if pinned is None:
                yield f"{lock.name} does not contain {requirement.name}."
            elif not requirement.specifier.contains(Version(pinned), prereleases=True):
                yield f"{lock.name} has {requirement.name} {pinned}, but '{requirement}' is required."
        if "://" in lock.read_text():
            yield f"{lock.name} contains an address, but it must work with any package index."
    dev = read_pins(DEV)
    for name, version in read_pins(RUNTIME).items():
        if dev.get(name) != version:
            yield f"{name} is {version} in {RUNTIME.name}, but {dev.get(name, 'missing')} in {DEV.name}."


def main() -> int:
    """Runs the command; the exit status is 1 if a lock file does not match pyproject.toml."""
    parser = argparse.ArgumentParser(prog="deploy/lock", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--upgrade", action="store_true", help="use the newest versions that fit")
    choice.add_argument(
        "--check", action="store_true", help="only report differences, without changing anything"
    )
    options = parser.parse_args()
    project = read_project()
    if not options.check:
        upgrade = ["--upgrade"] if options.upgrade else []
        compile_lock(RUNTIME, project[RUNTIME.name], *upgrade)
        compile_lock(DEV, project[DEV.name], "--constraint", RUNTIME.name, *upgrade)
    faults = list(find_faults(project))
    for fault in faults:
        print(f"✗ {fault}", file=sys.stderr)
    if faults:
        print("  Run deploy/lock to regenerate them.", file=sys.stderr)
        return 1
    print(f"✓ {RUNTIME.name}: {len(read_pins(RUNTIME))} packages, {DEV.name}: {len(read_pins(DEV))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
