"""What is released says the same about versions of Python everywhere, and sends nothing private to an engine."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text_of(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_versions_of_python_that_are_promised_are_those_that_are_tried() -> None:
    """In the metadata, the script that tries them, and the release workflow."""
    promised = [
        each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if re.search(r":: Python :: 3\.\d+$", each)
    ]
    supported = re.search(r"^SUPPORTED=\((.*)\)$", text_of("deploy/pythons"), re.MULTILINE)
    matrix = re.search(r"python: \[(.*)]", text_of(".github/workflows/release.yml"))
    assert supported is not None
    assert matrix is not None
    assert promised == supported[1].split()
    assert promised == re.findall(r"3\.\d+", matrix[1])
    assert PROJECT["requires-python"] == f">={promised[0]}"


def test_the_context_of_the_image_contains_only_what_its_dockerfile_copies() -> None:
    """The checkout may contain the data of a daemon, with its tokens and keys."""
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text_of("deploy/Dockerfile"), re.MULTILINE)
        for source in line.split()
    }
    rules = [line for line in text_of(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
    # Only BuildKit reads this one, and it then ignores the other.
    assert not (ROOT / "deploy" / "Dockerfile.dockerignore").exists()


def test_the_installed_units_differ_only_in_paths_and_user() -> None:
    """The Debian package's unit is made from the one in the checkout: each line that is replaced must exist once."""
    unit = text_of("deploy/systemd/timeball.service")
    for line in ("ExecStart=", "EnvironmentFile=", "DynamicUser=yes\n#", "SupplementaryGroups=docker"):
        assert unit.count(f"\n{line}") == 1, line
