"""Builds the source archive and the wheel from the tracked files, byte for byte the same every time.

The files are first copied with fixed modes, so that neither this machine's umask nor untracked files matter, and all
times are that of the last commit. The source archive is built first and the wheel from it: a wheel built directly
from the files must be identical. `--twice` builds everything again, in another directory and with another umask, and
compares.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def committed_at() -> int:
    """When the last commit was made, in seconds since 1970: the time of all files that are built."""
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def copy_tracked(target: Path, version: str | None) -> None:
    """Copy the tracked files as they are now; with `version`, as that version."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        source, copy = ROOT / name, target / name
        if not source.is_file():
            continue  # deleted, but not yet committed
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
        copy.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    if version is not None:
        project = target / "pyproject.toml"
        text, changed = re.subn(r'(?m)^version = ".*"$', f'version = "{version}"', project.read_text())
        if changed != 1:
            raise SystemExit("✗ pyproject.toml does not have exactly one line 'version = \"…\"'.")
        project.write_text(text)


def build(kind: str, source: Path, out: Path) -> Path:
    """Run `python -m build` for an `sdist` or a `wheel`; the file that it makes."""
    done = subprocess.run(
        [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(out), str(source)],
        capture_output=True, text=True, check=False, umask=0o022,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{done.stdout}{done.stderr}✗ The {kind} cannot be built; see the lines above.")
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def repack(archive: Path, time: int) -> None:
    """Write a source archive again with its members in order, and without times, owners and modes of this machine."""
    plain = io.BytesIO()
    with (
        tarfile.open(archive) as old,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, time
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(clean, old.extractfile(member) if member.isfile() else None)
    with archive.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=time) as packed:
        packed.write(plain.getvalue())


def make(out: Path, version: str | None, time: int) -> list[Path]:
    """Build the source archive, and the wheel from it, into `out`; both files."""
    with tempfile.TemporaryDirectory(prefix="timeball-build-") as scratch:
        work = Path(scratch)
        copy_tracked(work / "files", version)
        archive = build("sdist", work / "files", work / "sdist")
        repack(archive, time)
        with tarfile.open(archive) as tar:
            tar.extractall(work / "unpacked", filter="data")
        (unpacked,) = (work / "unpacked").iterdir()
        wheel = build("wheel", unpacked, work / "wheel")
        # setuptools leaves its notes in the files: this build must not find those of the first.
        copy_tracked(work / "again", version)
        direct = build("wheel", work / "again", work / "direct")
        if wheel.read_bytes() != direct.read_bytes():
            raise SystemExit("✗ The wheel of the source archive differs from the wheel of the checkout.")
        out.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(made, out)) for made in (archive, wheel)]


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> None:
    """Run the command; it fails if something cannot be built, or not twice in the same way."""
    parser = argparse.ArgumentParser(prog="deploy/release", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the directory to build into [dist]")
    parser.add_argument("--version", help="build as this version instead of the one in pyproject.toml")
    parser.add_argument("--twice", action="store_true", help="build twice and compare the bytes")
    options = parser.parse_args()

    time = committed_at()
    os.environ |= {"SOURCE_DATE_EPOCH": str(time), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    for old in (*options.out.glob("timeball-*.whl"), *options.out.glob("timeball-*.tar.gz")):
        old.unlink()
    made = make(options.out, options.version, time)
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *made], check=True)
    if options.twice:
        with tempfile.TemporaryDirectory(prefix="timeball-again-") as scratch, contextlib.ExitStack() as undo:
            undo.callback(os.umask, os.umask(0o002))
            for first, second in zip(made, make(Path(scratch), options.version, time), strict=True):
                if digest(first) != digest(second):
                    raise SystemExit(f"✗ {first.name} differs when it is built again.")
        print("✓ Built twice with the same bytes")
    for file in made:
        print(f"✓ {file} ({file.stat().st_size // 1024} KiB, sha256 {digest(file)})")


if __name__ == "__main__":
    main()
