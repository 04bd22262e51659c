"""Every diagram of the documents is drawn for the site: nothing is left out, and no label covers another."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from docs.site import sequences, states
from tests.unit.docs.test_links import DOCUMENTS

SVG = "{http://www.w3.org/2000/svg}"
KINDS = {states.HEADER: states.draw, sequences.HEADER: sequences.draw}
DIAGRAMS = [
    pytest.param(text.splitlines(), id=f"{page.stem}-{number}")
    for page in DOCUMENTS
    for number, text in enumerate(re.findall(r"^```mermaid\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]
LABEL = re.compile(r"^.*(?: --> \S+: |Note over [\w,]+: |\w--?(?:>>|x)\w+: | as )(.*)$")


def drawn(lines: list[str]) -> ElementTree.Element:
    return ElementTree.fromstring(KINDS[lines[0]](lines[1:], "What it is of"))


def labels(drawing: ElementTree.Element) -> list[list[ElementTree.Element]]:
    """The lines of each text."""
    return [text.findall(f"{SVG}tspan") for text in drawing.iter(f"{SVG}text")]


@pytest.mark.parametrize("lines", DIAGRAMS)
def test_every_label_is_drawn(lines: list[str]) -> None:
    texts = {" ".join(str(line.text) for line in text) for text in labels(drawn(lines))}
    wanted = [found[1] for line in lines if (found := LABEL.match(line))]
    assert len(wanted) >= 5
    assert [label for label in wanted if label not in texts] == []


@pytest.mark.parametrize("lines", DIAGRAMS)
def test_no_line_of_text_covers_another(lines: list[str]) -> None:
    places = sorted((line.attrib["x"], float(line.attrib["y"])) for text in labels(drawn(lines)) for line in text)
    assert len(places) > 5
    assert [two for two in pairwise(places) if two[0][0] == two[1][0] and two[1][1] - two[0][1] < 14] == []


@pytest.mark.parametrize("lines", DIAGRAMS)
def test_it_is_named_and_within_its_frame(lines: list[str]) -> None:
    drawing = drawn(lines)
    *_, width, height = map(float, drawing.attrib["viewBox"].split())
    assert drawing.findtext(f"{SVG}title") == "What it is of"
    for line in drawing.iter(f"{SVG}tspan"):
        assert 0 < float(line.attrib["x"]) < width
        assert 0 < float(line.attrib["y"]) < height


def test_an_arrow_leads_from_each_label_to_the_state_that_it_names() -> None:
    drawing = drawn([states.HEADER, "[*] --> A", "A --> B: go", "B --> A: back", "B --> B: stay", "B --> [*]"])
    names = {text[0].text: float(text[0].attrib["y"]) for text in labels(drawing)}
    tips = [path.attrib["d"] for path in drawing.iter(f"{SVG}path") if path.attrib["class"].startswith("head")]
    assert sorted(float(tip.split(" ")[1].split("L")[0]) + 5 for tip in tips) == [names["A"], names["B"]]
    assert [text[0].text for text in labels(drawing)].count("↺") == 1
    assert sum(circle.attrib["class"] == "ring" for circle in drawing.iter(f"{SVG}circle")) == 1


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot draw this line: 'A ==> B'"):
        states.draw(["A ==> B"], "")
    with pytest.raises(ValueError, match="cannot draw this line: 'loop every second'"):
        sequences.draw(["participant A as A beat", "loop every second"], "")
    with pytest.raises(ValueError, match="nobody is called 'B'"):
        sequences.draw(["participant A as A beat", "A->>B: hello"], "")
