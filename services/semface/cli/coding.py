"""Commands that work on files, with the networks inside this process: from a photograph to bits and back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semface.cli.output import Json, show
from semface.meaning import DEFAULT_OPERATING_POINT, EXPRESSIONS, OperatingPoint
from semface.recognisers import DEFAULT_RECOGNISER, RECOGNISERS, Seen, find_recogniser

if TYPE_CHECKING:
    from semface.cli.chain import Chain

app = typer.Typer(rich_markup_mode=None)

SUFFIX = ".semface"

Photo = Annotated[
    Path, typer.Argument(help="A photograph (JPEG, PNG, WebP); encode takes a video too.", exists=True, dir_okay=False)
]
Input = Annotated[Path, typer.Argument(help="A photograph or a bitstream file.", exists=True, dir_okay=False)]
SeenInput = Annotated[
    Path, typer.Argument(help="A photograph, a bitstream file or a 3-D scan.", exists=True, dir_okay=False)
]
Quality = Annotated[str | None, typer.Option(help="Name or number of a quality of the codec.")]
Bits = Annotated[
    int | None,
    typer.Option(min=1, help="In place of a quality: the finest whose frame takes no more bits, else the coarsest."),
]
Portions = Annotated[
    list[str] | None, typer.Option("--portion", help="identity, expression or illumination; all by default.")
]
Largest = Annotated[str, typer.Option("--face", help="Of several: 'only' refuses them, 'largest' takes one.")]


@app.command()
def analyze(photo: Photo, quality: Quality = None, bits: Bits = None, as_json: Json = False) -> None:
    """Tell the faces of a photograph: bits, expression, quality."""
    from semface.cli.chain import read_input, with_chain

    given = read_input(photo)

    async def work(chain: "Chain") -> dict[str, Any]:
        faces = await chain.faces(given)
        frames = [(await chain.codec.encode(face.descriptors, quality, bits=bits))[0] for face in faces]
        told = [await _tell(chain, frame) for frame in frames]
        described = [
            {
                "id": place,
                "box": [float(x) for x in face.box],
                "confidence": float(face.confidence),
                "quality": face.quality,
            }
            for place, face in enumerate(faces)
        ]
        return {
            "photograph_bytes": len(given.data),
            "faces": [seen | meant for seen, meant in zip(described, told, strict=True)],
            "minimum_quality": chain.extractor.minimum_quality,
            "models": [chain.model(name) for name in ("descriptor_extraction", "codec", "expression_recognition")],
        }

    show(with_chain(work), as_json)


@app.command()
def encode(
    photo: Photo,
    output: Annotated[Path | None, typer.Option("-o", "--output", help=f"Bitstream file (PHOTO{SUFFIX}).")] = None,
    quality: Quality = None,
    bits: Bits = None,
    portion: Portions = None,
    face: Largest = "only",
    as_json: Json = False,
) -> None:
    """Code the face of a photograph into a bitstream, or the moving face of a video into a recorded session."""
    from semface.cli.chain import count_bits, read_input, with_chain
    from semface.cli.recording import VIDEO_SUFFIXES, record, told
    from semface.descriptors import Portion, portions_by_name
    from semface.errors import Reason, SemfaceError

    portions = portions_by_name(portion) if portion else Portion.ALL
    target = output or photo.with_suffix(SUFFIX)
    if photo.suffix.lower() in VIDEO_SUFFIXES:
        if bits is not None:
            raise SemfaceError(Reason.FIELD_INVALID, "a video has no target in bits; name a --quality")
        recording = with_chain(lambda chain: record(chain, photo, quality, portions))
        target.write_bytes(recording.write())
        show({"bitstream": str(target), **told(recording)}, as_json)
        return
    given = read_input(photo)

    async def work(chain: "Chain") -> bytes:
        chosen = await chain.face(given, largest=is_largest(face))
        return (await chain.codec.encode(chosen.descriptors, quality, portions, bits=bits))[0]

    frame = with_chain(work)
    target.write_bytes(frame)
    show({"bitstream": str(target), "bits": count_bits(frame), "photograph_bytes": len(given.data)}, as_json)


@app.command()
def decode(
    bitstream: Annotated[Path, typer.Argument(help="A bitstream file.", exists=True, dir_okay=False)],
    blendshapes: Annotated[
        bool, typer.Option("--blendshapes", help="ARKit's 52 weights of the expression too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decode a bitstream into the numbers of the face, a recorded session into those of each moment."""
    from semface.cli.chain import read_input, with_chain
    from semface.cli.recording import replay
    from semface.codec.recording import is_recording
    from semface.descriptors import GROUPS, PORTION_GROUPS, portion_names
    from semface.morphable.blendshapes import decoded_weights

    given = read_input(bitstream)

    async def work(chain: "Chain") -> dict[str, Any]:
        if is_recording(given.data):
            return await replay(chain, given.data)
        face = (await chain.codec.decode([given.data]))[0]
        names = [name for portion in face.portions for name in PORTION_GROUPS[portion]]
        weights = {"blendshapes": decoded_weights(face.descriptors, face.portions)} if blendshapes else {}
        return {
            "quality": face.quality.name,
            "portions": portion_names(face.portions),
            "descriptors": {name: face.descriptors[GROUPS[name]].tolist() for name in names},
            **weights,
            "models": [chain.model("codec")],
        }

    show(with_chain(work), as_json)


@app.command()
def expression(
    source: SeenInput,
    face: Largest = "only",
    model: Annotated[str, typer.Option(help=f"What recognises: {', '.join(RECOGNISERS)}.")] = DEFAULT_RECOGNISER.name,
    attention: Annotated[
        Path | None, typer.Option(help="Also draw where each head of dan looks, as a PNG.", metavar="PNG")
    ] = None,
    attributes: Annotated[
        Path | None, typer.Option(help="Also draw the attribute images of a scan, as a PNG.", metavar="PNG")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recognise the expression of a photograph (from its decoded numbers) or of a bitstream.

    dan and slfer look at the pixels of a photograph instead, as it is, not coded; amdfn at a 3-D scan (OBJ, PLY, glTF).
    """
    from semface.cli.chain import read_input, with_chain
    from semface.cli.recognising import recognise_scan, recognise_view

    recogniser = find_recogniser(model)
    if attributes is not None or (recogniser.sees is Seen.ATTRIBUTE_IMAGES and attention is None):
        show(with_chain(lambda chain: recognise_scan(chain, source, recogniser, attributes)), as_json)
        return
    given = read_input(source)
    if recogniser.sees is not Seen.DESCRIPTORS or attention is not None:
        show(
            with_chain(lambda chain: recognise_view(chain, given, recogniser, attention, largest=is_largest(face))),
            as_json,
        )
        return

    async def work(chain: "Chain") -> dict[str, Any]:
        frame = await chain.frame(given, largest=is_largest(face))
        told = await _tell(chain, frame)
        models = [chain.model(name) for name in ("codec", "expression_recognition")]
        return {"expression": told["expression"], "models": models}

    show(with_chain(work), as_json)


@app.command()
def verify(
    probe: Input,
    reference: Input,
    operating_point: Annotated[OperatingPoint, typer.Option(help="Which threshold decides.")] = DEFAULT_OPERATING_POINT,
    face: Largest = "only",
    as_json: Json = False,
) -> None:
    """Tell whether two photographs or bitstreams show one person. There is no liveness detection."""
    from semface.cli.chain import read_input, with_chain
    from semface.descriptors import Portion, portion_names

    given = [read_input(probe), read_input(reference)]

    async def work(chain: "Chain") -> dict[str, Any]:
        largest = is_largest(face)
        frames = [await chain.frame(source, largest=largest, portions=Portion.IDENTITY) for source in given]
        faces = await chain.codec.decode(frames)
        first, second = [
            (await chain.understanding.embeddings(decoded.descriptors, decoded.portions))[0] for decoded in faces
        ]
        score = chain.understanding.compare(first, second)
        decision = chain.understanding.decision(score, operating_point)
        return {
            "matched": bool(decision.matched),
            "score": decision.score,
            "threshold": decision.threshold,
            "operating_point": operating_point,
            "bits": [8 * len(frame) for frame in frames],
            "portions": [portion_names(decoded.portions) for decoded in faces],
            "models": [chain.model("codec"), chain.model("face_verification")],
        }

    show(with_chain(work), as_json)


async def _tell(chain: "Chain", frame: bytes) -> dict[str, Any]:
    """Return bits and expression of ``frame``, as a receiver knows them."""
    from semface.cli.chain import count_bits

    decoded = (await chain.codec.decode([frame]))[0]
    confidences = (await chain.understanding.expressions(decoded.descriptors, decoded.portions))[0]
    told = dict(zip(EXPRESSIONS, map(float, confidences), strict=True))
    return {"bits": count_bits(frame), "expression": {"leading": max(told, key=told.__getitem__), "confidences": told}}


def is_largest(choice: str) -> bool:
    """Return whether ``--face`` asks for the largest; raises FIELD_INVALID for a word that it does not know."""
    from semface.errors import Reason, SemfaceError

    if choice not in ("only", "largest"):
        raise SemfaceError(Reason.FIELD_INVALID, "--face is 'only' or 'largest'")
    return choice == "largest"
