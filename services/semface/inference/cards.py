"""Model cards: what a network is for and where its weights come from, as the page beside it says."""

import re
from dataclasses import dataclass
from typing import Final

from semface.inference.repository import ModelRepository

CARD_FILE: Final = "card.md"

_HEADING: Final = re.compile(r"^#+ +(?P<title>.+)$")
_ORIGINS: Final = ("provenance", "training", "how it was made")
"""Words in the title of the section that tells where the weights come from, the most telling first."""


@dataclass(frozen=True, slots=True)
class Card:
    """The first words of a model card, and those on where the weights come from; empty where it does not say."""

    purpose: str
    provenance: str


def read_card(repository: ModelRepository, name: str) -> Card | None:
    """Return the card of model ``name``, or None when it has none."""
    path = repository.root / name / CARD_FILE
    if not path.is_file():
        return None
    sections = _sections(path.read_text(encoding="utf-8"))
    purpose = next((text for _, text in sections if text), "")
    for word in _ORIGINS:
        for title, text in sections:
            if word in title.lower() and text:
                return Card(purpose, text)
    return Card(purpose, "")


def _sections(card: str) -> list[tuple[str, str]]:
    """Return the title of each section and its first paragraph, on one line; tables are no paragraphs."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in card.splitlines():
        heading = _HEADING.match(line)
        if heading:
            sections.append((heading["title"], []))
        else:
            sections[-1][1].append(line)
    return [(title, _first_paragraph("\n".join(lines))) for title, lines in sections]


def _first_paragraph(text: str) -> str:
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    return next((part for part in paragraphs if part and not part.startswith("|")), "")
