"""One run over pictures on the path that serves: detect, extract, encode, decode, understand, judge."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semface.codec.core import Codec
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from semface.evaluation.coding import UNCODED, ReceivedFaces, send
from semface.evaluation.expression import ExpressionResult, evaluate_expression, read_labels
from semface.evaluation.pictures import (
    DescribedPictures,
    PictureArchive,
    Progress,
    cache_key,
    describe_pictures,
    load_descriptions,
    store_descriptions,
)
from semface.evaluation.verification import Pairs, VerificationResult, evaluate_verification
from semface.inference.engine import Engine
from semface.understanding.core import Understanding, require_portion


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run codes: ``quality``, or ``bits`` as a target in its place; ``portions`` that are coded and counted.

    ``cache`` is a file that keeps the descriptors of the pictures for further runs, or None.
    """

    quality: str | None = None
    portions: Portion = Portion.ALL
    cache: Path | None = None
    bits: int | None = None


@dataclass(frozen=True, slots=True)
class ServingPath:
    """Everything between a picture and an answer; ``repository`` holds the codec's prior."""

    engine: Engine
    repository: Path

    async def verification(
        self, archive: PictureArchive, pairs: Pairs, options: RunOptions, progress: Progress
    ) -> VerificationResult:
        """Judge ``pairs`` of the pictures of ``archive``.

        Raises GROUP_ABSENT when the identity portion is not coded, FIELD_INVALID when a picture is not in the zip.
        """
        require_portion(options.portions, Portion.IDENTITY)
        described, stems, received = await self._receive(archive, pairs.stems, options, progress)
        return await evaluate_verification(
            Understanding(self.engine),
            received,
            stems,
            pairs,
            fallback=int(described.fallback.sum()),
            skipped=int(described.skipped.sum()),
        )

    async def expression(
        self, archive: PictureArchive, limit: int | None, options: RunOptions, progress: Progress
    ) -> ExpressionResult:
        """Judge the usable pictures of ``archive``, of these the first ``limit``.

        Raises GROUP_ABSENT when the expression portion is not coded, FIELD_INVALID when a picture is not in the zip.
        """
        require_portion(options.portions, Portion.EXPRESSION)
        labels = read_labels(archive, limit)
        described, stems, received = await self._receive(archive, list(labels), options, progress)
        return await evaluate_expression(
            Understanding(self.engine),
            received,
            stems,
            labels,
            fallback=int(described.fallback.sum()),
            skipped=int(described.skipped.sum()),
        )

    async def receive(
        self, archive: PictureArchive, stems: Sequence[str], options: RunOptions, progress: Progress
    ) -> tuple[list[str], ReceivedFaces]:
        """Return of the pictures ``stems`` those that were not skipped, and their faces received."""
        _, names, received = await self._receive(archive, stems, options, progress)
        return names, received

    async def _receive(
        self, archive: PictureArchive, stems: Sequence[str], options: RunOptions, progress: Progress
    ) -> tuple[DescribedPictures, list[str], ReceivedFaces]:
        """Return the pictures described, and of those that were not skipped the stems and the faces received."""
        archive.require(stems)
        if options.bits is not None and options.quality is not None:
            raise SemfaceError(Reason.FIELD_INVALID, "name either a quality or a target in bits", field="bits")
        # Opened before the long pass, so that an unknown quality or an absent codec is told at once.
        codec = None if options.quality == UNCODED else Codec(self.engine, self.repository, options.quality)
        described = await self.describe(archive, stems, options.cache, progress)
        kept = ~described.skipped
        names = [stem for stem, keep in zip(described.stems, kept, strict=True) if keep]
        received = await send(codec, described.descriptors[kept], options.portions, options.bits)
        return described, names, received

    async def describe(
        self, archive: PictureArchive, stems: Sequence[str], cache: Path | None, progress: Progress
    ) -> DescribedPictures:
        """Return the pictures ``stems`` described, or as ``cache`` keeps them when it was made likewise."""
        if cache is None:
            return await describe_pictures(self.engine, archive, stems, progress)
        key = cache_key(self.engine, archive)
        described = load_descriptions(cache, key, stems)
        if described is None:
            described = await describe_pictures(self.engine, archive, stems, progress)
            store_descriptions(cache, key, described)
        else:
            progress(len(stems))
        return described
