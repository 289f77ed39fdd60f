"""Builds the Debian package from a wheel and the lock file: everything that it needs beside Python is inside.

/usr/lib/timeball is a virtual environment of Debian's own Python, so nothing of it can get in the way of other
programs, nor they in its way. The wheels of one package for different versions of Python differ only in compiled
modules, whose file names contain the version. One directory therefore serves all of them, and the package survives an
upgrade of Debian.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release import committed_at

ROOT = Path(__file__).resolve().parent.parent
DEBIAN = ROOT / "deploy" / "debian"
#: Debian 12 has Python 3.11, Ubuntu 24.04 has 3.12, Debian 13 has 3.13.
PYTHONS = ("3.11", "3.12", "3.13")
#: Debian's name of each architecture, and the platform of its wheels (glibc 2.28 or newer).
PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
HOME = Path("usr/lib/timeball")
#: Notes of the installer, which are not true of the merged directory.
INSTALLERS_NOTES = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
#: Only building requires these packages.
BUILD_ONLY = ("setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence.pth", "bin", ".lock")

CONTROL = """\
Package: timeball
Version: {version}
Architecture: {architecture}
Maintainer: Timeball's authors <timeball@localhost>
Installed-Size: {size}
Depends: python3 (>= {oldest}), python3 (<< {beyond}), adduser, ca-certificates, init-system-helpers
Recommends: docker.io | docker-ce | podman-docker
Suggests: openssh-client, postgresql
Section: admin
Priority: optional
Description: daemon that starts containers on time
 You define a job over HTTP or with the command timeball: an image, a command,
 a size, and a schedule. Timeball starts a container on a Docker Engine at
 every due time, keeps its output, and records how it ended and why.
"""
COMMAND = "#!/usr/lib/timeball/bin/python3 -I\nfrom timeball.__main__ import main\n\nmain()\n"
VENV = "home = /usr/bin\ninclude-system-site-packages = false\n"


def install(site: Path, wheel: Path, python: str, platform: str) -> None:
    """Install the locked packages and the wheel for one version of Python into a directory."""
    command = [
        sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(site), "--python-version", python,
        "--python-platform", platform, "--only-binary", ":all:", "--link-mode", "copy", "--no-config",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    if index := os.environ.get("PIP_INDEX_URL"):
        environment["UV_DEFAULT_INDEX"] = index
    for what in (
        ["--require-hashes", "--requirement", str(ROOT / "requirements.lock")],
        ["--no-deps", str(wheel)],
    ):
        subprocess.run([*command, *what], check=True, env=environment)


def merge(sites: list[Path], target: Path) -> None:
    """Copy several such directories into one. Files in the same place must be identical."""
    for site in sites:
        for file in sorted(site.rglob("*")):
            name = file.relative_to(site)
            in_notes = name.parts[0].endswith(".dist-info")
            if not file.is_file() or name.parts[0] in BUILD_ONLY or name.parts[0].startswith("setuptools-"):
                continue
            if in_notes and name.name in INSTALLERS_NOTES:
                continue
            copy = target / name
            # The lists of materials in the notes name the wheel that they were made for.
            if copy.exists() and copy.read_bytes() != file.read_bytes() and "sboms" not in name.parts:
                raise SystemExit(
                    f"✗ {name} differs between versions of Python, so one directory cannot serve them all."
                )
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def unit() -> str:
    """The systemd unit for the package: the one in the checkout, with the package's paths and its system user."""
    text = (ROOT / "deploy" / "systemd" / "timeball.service").read_text()
    text = text[text.index("[Unit]") :]
    for old, new in (
        (
            r"ExecStart=.*",
            "ExecStart=/usr/bin/timeball serve --data-dir /var/lib/timeball --config /etc/timeball/timeball.toml",
        ),
        (r"EnvironmentFile=.*", "EnvironmentFile=-/etc/default/timeball"),
        (r"DynamicUser=yes\n#.*\nSupplementaryGroups=docker", "User=timeball\nGroup=timeball"),
    ):
        text, changed = re.subn(old, new, text)
        if changed != 1:
            raise SystemExit(f"✗ deploy/systemd/timeball.service has no line for '{old}'.")
    return text


def licences(site: Path) -> str:
    """The copyright file: Timeball's licence, and where those of the packages inside are."""
    lines = [
        "Timeball is licensed under the Apache License, Version 2.0; see /usr/share/common-licenses/Apache-2.0.",
        "",
        "It contains the following packages. Their licences are in the directories named:",
        "",
    ]
    for notes in sorted(site.glob("*.dist-info")):
        found = re.search(r"(?m)^License(?:-Expression)?: (.+)$", (notes / "METADATA").read_text())
        named = found[1].strip() if found and len(found[1]) < 60 else "see there"
        lines.append(
            f"  {notes.name.removesuffix('.dist-info')}: {named} (/{HOME}/lib/site-packages/{notes.name})"
        )
    return "\n".join([*lines, ""])


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file and its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def lay_out(tree: Path, wheel: Path, architecture: str) -> None:
    """Everything that the package contains, except its control files."""
    home = tree / HOME
    site = home / "lib" / "site-packages"
    with tempfile.TemporaryDirectory(prefix="timeball-sites-") as scratch:
        sites = [Path(scratch) / python for python in PYTHONS]
        for each in sites:
            install(each, wheel, each.name, PLATFORMS[architecture])
        merge(sites, site)
    for python in PYTHONS:
        (home / "lib" / f"python{python}").mkdir()
        (home / "lib" / f"python{python}" / "site-packages").symlink_to("../site-packages")
    write(home / "pyvenv.cfg", VENV)
    write(home / "bin" / "timeball", COMMAND, 0o755)
    (home / "bin" / "python3").symlink_to("/usr/bin/python3")
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/timeball").symlink_to("../lib/timeball/bin/timeball")
    write(tree / "usr/lib/systemd/system/timeball.service", unit())
    write(tree / "usr/share/python3/runtime.d/timeball.rtupdate", (DEBIAN / "rtupdate").read_text(), 0o755)
    write(tree / "etc/timeball/timeball.toml", (DEBIAN / "timeball.toml").read_text())
    notes = tree / "usr/share/doc/timeball"
    write(notes / "copyright", licences(site))
    changes = (ROOT / "CHANGELOG.md").read_bytes()
    (notes / "changelog.gz").write_bytes(gzip.compress(changes, 9, mtime=0))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="deploy/deb", description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--architecture", choices=PLATFORMS, default="amd64")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the directory to build into [dist]")
    parser.add_argument("--fast", action="store_true", help="do not compress, to try the package")
    options = parser.parse_args()
    time = committed_at()
    os.umask(0o022)
    # In Debian's order of versions, a tilde puts a pre-release before the release.
    version = re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", options.wheel.name.split("-")[1])
    with tempfile.TemporaryDirectory(prefix="timeball-deb-") as scratch:
        tree = Path(scratch) / "tree"
        lay_out(tree, options.wheel, options.architecture)
        size = sum(each.lstat().st_size for each in tree.rglob("*")) // 1024
        beyond = f"3.{int(PYTHONS[-1].split('.')[1]) + 1}"
        control = CONTROL.format(
            version=version, architecture=options.architecture, size=size, oldest=PYTHONS[0], beyond=beyond
        )
        write(tree / "DEBIAN/control", control)
        write(tree / "DEBIAN/conffiles", "/etc/timeball/timeball.toml\n")
        for script in ("postinst", "prerm", "postrm"):
            write(tree / "DEBIAN" / script, (DEBIAN / script).read_text(), 0o755)
        for each in (tree, *tree.rglob("*")):
            os.utime(each, (time, time), follow_symlinks=False)
        tree.chmod(0o755)
        options.out.mkdir(parents=True, exist_ok=True)
        file = options.out / f"timeball_{version}_{options.architecture}.deb"
        compression = ["-Znone"] if options.fast else ["-Zxz"]
        command = ["dpkg-deb", "--root-owner-group", *compression, "--build", str(tree), str(file)]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"SOURCE_DATE_EPOCH": str(time)}
        )
    print(f"✓ {file} ({file.stat().st_size // 1024} KiB, {size // 1024} MiB installed)")


if __name__ == "__main__":
    main()
