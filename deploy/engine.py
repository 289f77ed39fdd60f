"""Checks for the setup scripts whether a Docker Engine responds, and provides a small image on it.

Runs in the environment that deploy/lib.sh creates. The engine is the one at DOCKER_HOST or at the default socket.
Only the image timeball/busybox:1 is added; existing image names are never moved.
"""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import docker
import docker.errors
import requests

REPOSITORY, TAG = "timeball/busybox", "1"
PUBLIC_IMAGE = ("busybox", "stable")
SECONDS_WITHOUT_AN_ANSWER = 15

ABSENT, NOT_ALLOWED = 3, 4


def _connect() -> docker.DockerClient:
    return docker.from_env(timeout=SECONDS_WITHOUT_AN_ANSWER)


def ping() -> int:
    """Prints the engine's version; exits with 3 if none responds and 4 if this user has no access."""
    try:
        client = _connect()
        client.ping()
        print(client.version()["Version"])
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        print(error)
        # The SDK wraps the socket's error several times and keeps only its message.
        return NOT_ALLOWED if "PermissionError" in str(error) or "ermission denied" in str(error) else ABSENT
    return 0


def _has(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def image() -> int:
    """Finds the image, or pulls a public one and tags it with this project's name; exits with 3 if it cannot."""
    client = _connect()
    name, public = f"{REPOSITORY}:{TAG}", ":".join(PUBLIC_IMAGE)
    if _has(client, name):
        print(f"Image {name} exists")
        return 0
    was_there = _has(client, public)
    if not was_there:
        try:
            client.images.pull(*PUBLIC_IMAGE)
        except (docker.errors.DockerException, requests.RequestException) as error:
            print(f"Cannot pull {public}: {error}", file=sys.stderr)
            return ABSENT
    client.images.get(public).tag(REPOSITORY, TAG)
    if not was_there:
        client.images.remove(public, noprune=True)
    print(f"{'Tagged' if was_there else 'Pulled'} {public} as {name}")
    return 0


def _add_folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode = tarfile.DIRTYPE, mode
    archive.addfile(folder)


def build_image(busybox: Path) -> int:
    """Builds the image from a static busybox, with a link for each of its commands."""
    listing = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    names = listing.stdout.split()
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)):
            _add_folder(archive, folder, mode)
        program = tarfile.TarInfo("bin/busybox")
        content = busybox.read_bytes()
        program.mode, program.size = 0o755, len(content)
        archive.addfile(program, io.BytesIO(content))
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        passwd = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
        users = tarfile.TarInfo("etc/passwd")
        users.mode, users.size = 0o644, len(passwd)
        archive.addfile(users, io.BytesIO(passwd))
    client = _connect()
    answer = client.api.import_image_from_data(
        layer.getvalue(),
        repository=REPOSITORY,
        tag=TAG,
        changes=["ENV PATH=/bin", 'CMD ["sh"]', "LABEL org.opencontainers.image.title=busybox"],
    )
    if not _has(client, f"{REPOSITORY}:{TAG}"):
        print(answer, file=sys.stderr)
        return 1
    print(f"Built image {REPOSITORY}:{TAG} from {busybox}")
    return 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["ping"]:
            sys.exit(ping())
        case ["image"]:
            sys.exit(image())
        case ["build-image", path]:
            sys.exit(build_image(Path(path)))
        case _:
            sys.exit("usage: engine.py ping | image | build-image PATH-OF-BUSYBOX")
