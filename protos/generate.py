"""Write the typed Python stubs of ``protos/semface/v1`` into ``services/semface/v1``, or check that they are current.

Run ``python protos/generate.py`` after a change to a ``.proto`` file and commit what it writes; ``--check`` regenerates
into a temporary folder and fails when the committed stubs differ.
"""

import argparse
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
SOURCES = PROTOS.parent / "services"
PACKAGE = Path("semface/v1")
TYPE_STUB_PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")


def proto_files() -> list[str]:
    """Return the names of the proto files relative to ``protos``, sorted so that every run sees one order."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in (PROTOS / PACKAGE).glob("*.proto"))


def run_protoc(*options: str) -> None:
    """Run the protobuf compiler over our files; the well-known types come with ``grpcio-tools``."""
    include = resources.files("grpc_tools") / "_proto"
    plugins = [f"--plugin={name}={Path(sys.executable).parent / name}" for name in TYPE_STUB_PLUGINS]
    arguments = ["protoc", f"--proto_path={PROTOS}", f"--proto_path={include}", *plugins, *options, *proto_files()]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed; its message is above")


def generate(target: Path) -> None:
    """Write messages, services and their type stubs below ``target``, so that they import as ``semface.v1``."""
    run_protoc(
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
    )


def stubs(source_root: Path) -> dict[str, str]:
    """Return the text of every generated file below ``source_root`` by its name."""
    folder = source_root / PACKAGE
    return {path.name: path.read_text() for pattern in GENERATED for path in folder.glob(pattern)}


def main() -> None:
    """Regenerate in place, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed stubs are not current")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = stubs(Path(folder))
    committed = stubs(SOURCES)
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if arguments.check:
        if stale:
            sys.exit(f"stubs are not current, run `make stubs`: {', '.join(stale)}")
        return
    target = SOURCES / PACKAGE
    target.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in fresh:
            (target / name).write_text(fresh[name])
        else:
            (target / name).unlink()
    print(f"{len(fresh)} stubs, {len(stale)} changed")


if __name__ == "__main__":
    main()
