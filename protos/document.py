"""Write ``docs/api.md`` from the comments in ``protos/semface/v1``, or check that it is current with ``--check``."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from generate import PROTOS, proto_files, run_protoc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

PAGE = PROTOS.parent / "docs" / "api.md"
HEADER = """# gRPC API

Made from `protos/` by `make docs`; change the comments there. Vectors travel as little-endian float32 `bytes`. Errors
come as `google.rpc.Status` with one `ErrorInfo` of the domain `semface`.
"""

# Numbers of the fields of descriptor.proto, of which the paths of source locations are made.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE = 4, 5, 6
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM = 2, 3, 4
ENUM_VALUE, SERVICE_METHOD = 2, 2

SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in FieldDescriptorProto.Type.items()
    if name not in ("TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP")
}


class Comments:
    """The comments of one file by the path of what they describe."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._by_path = {
            tuple(location.path): location.leading_comments or location.trailing_comments
            for location in file.source_code_info.location
        }

    def of(self, *path: int) -> str:
        """Return the comment of an element as one paragraph, empty where there is none."""
        return " ".join(self._by_path.get(path, "").split())


def read_files() -> list[FileDescriptorProto]:
    """Return our own files with their comments, in the order of their names."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "descriptors.binpb"
        run_protoc("--include_source_info", f"--descriptor_set_out={target}")
        return list(FileDescriptorSet.FromString(target.read_bytes()).file)


def anchor(type_name: str) -> str:
    """Return a link to one of our types, or the bare name of one that is not ours."""
    name = type_name.rsplit(".", 1)[-1]
    return f"[{name}](#{name.lower()})" if type_name.startswith(".semface.") else f"`{type_name.lstrip('.')}`"


def field_type(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    """Return how a field's type reads: repeated, map, optional, a link for a message or an enum."""
    entry = next((nested for nested in message.nested_type if field.type_name.endswith(f".{nested.name}")), None)
    if entry is not None and entry.options.map_entry:
        key, value = (field_type(entry, part) for part in entry.field)
        return f"map of {key} to {value}"
    base = anchor(field.type_name) if field.type_name else f"`{SCALARS[field.type]}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {base}"
    return f"optional {base}" if field.proto3_optional else base


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table; a bar inside a cell is escaped."""
    headings = list(headings)
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def method_row(method: MethodDescriptorProto, comment: str) -> tuple[str, str, str, str]:
    """Return name, request, response and comment of one RPC; streams say so."""
    request = ("stream of " if method.client_streaming else "") + anchor(method.input_type)
    response = ("stream of " if method.server_streaming else "") + anchor(method.output_type)
    return f"`{method.name}`", request, response, comment


def service_lines(file: FileDescriptorProto, comments: Comments) -> Iterator[str]:
    """Yield the services of a file, each with a table of its RPCs."""
    for index, service in enumerate(file.service):
        path = (FILE_SERVICE, index)
        yield from (f"### {service.name}", "", comments.of(*path), "")
        rows = (method_row(rpc, comments.of(*path, SERVICE_METHOD, at)) for at, rpc in enumerate(service.method))
        yield from table(("RPC", "request", "response", "what it does"), rows)


def enum_lines(enum: EnumDescriptorProto, comments: Comments, path: tuple[int, ...]) -> Iterator[str]:
    """Yield an enum with a table of its values."""
    yield from (f"### {enum.name}", "", comments.of(*path), "")
    rows = ((f"`{v.name}`", str(v.number), comments.of(*path, ENUM_VALUE, at)) for at, v in enumerate(enum.value))
    yield from table(("value", "number", "meaning"), rows)


def message_lines(message: DescriptorProto, comments: Comments, path: tuple[int, ...]) -> Iterator[str]:
    """Yield a message with a table of its fields, then what is nested in it."""
    yield from (f"### {message.name}", "", comments.of(*path), "")
    rows = []
    for at, field in enumerate(message.field):
        comment = comments.of(*path, MESSAGE_FIELD, at)
        if field.HasField("oneof_index") and not field.proto3_optional:
            comment = f"One of `{message.oneof_decl[field.oneof_index].name}`. {comment}"
        rows.append((f"`{field.name}`", str(field.number), field_type(message, field), comment))
    if rows:
        yield from table(("field", "number", "type", "meaning"), rows)
    else:
        yield from ("No fields.", "")
    for at, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from message_lines(nested, comments, (*path, MESSAGE_NESTED, at))
    for at, enum in enumerate(message.enum_type):
        yield from enum_lines(enum, comments, (*path, MESSAGE_ENUM, at))


def page(files: Iterable[FileDescriptorProto]) -> str:
    """Return the whole page: a section for each file, services first."""
    lines = [HEADER]
    for file in files:
        comments = Comments(file)
        lines += [f"## {file.name}", ""]
        lines += service_lines(file, comments)
        for index, message in enumerate(file.message_type):
            lines += message_lines(message, comments, (FILE_MESSAGE, index))
        for index, enum in enumerate(file.enum_type):
            lines += enum_lines(enum, comments, (FILE_ENUM, index))
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page, or compare with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the committed page is not current")
    arguments = parser.parse_args()
    names = set(proto_files())
    fresh = page(file for file in read_files() if file.name in names)
    if not arguments.check:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(fresh)
    elif not PAGE.exists() or PAGE.read_text() != fresh:
        sys.exit(f"{PAGE.relative_to(PROTOS.parent)} is not current, run `make docs`")


if __name__ == "__main__":
    main()
