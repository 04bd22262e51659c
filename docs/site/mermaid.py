"""Sphinx: a ``mermaid`` fence becomes a drawing within the page. No script draws it, and none is loaded."""

from html import escape
from typing import ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

from docs.site import sequences, states

KINDS = {states.HEADER: states.draw, sequences.HEADER: sequences.draw}


class Drawing(nodes.General, nodes.Element):
    """A diagram, by its kind and its lines."""


class Mermaid(SphinxDirective):
    """Makes a drawing of what a fence holds."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """One drawing. An error of the build for what cannot be drawn."""
        kind, *lines = [str(line).strip() for line in self.content]
        if kind not in KINDS:
            raise self.error(f"Only {' and '.join(KINDS)} can be drawn, not {kind!r}.")
        try:
            KINDS[kind](lines, title="")
        except ValueError as exc:
            raise self.error(f"This cannot be drawn: {exc}") from exc
        return [Drawing(kind=kind, lines=lines)]


def visit(translator: HTML5Translator, node: Drawing) -> None:
    """The drawing, named by the heading that it stands under, and its words for whoever does not see it."""
    section = node.parent
    while not isinstance(section, nodes.section):
        section = section.parent
    drawn = KINDS[node["kind"]](node["lines"], title=section[0].astext())
    words = escape("\n".join(node["lines"]))
    translator.body.append(f'<figure class="drawn">{drawn}<details><summary>In words</summary><pre>{words}</pre>')
    translator.body.append("</details></figure>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_node(Drawing, html=(visit, None))
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
