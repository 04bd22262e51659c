"""The builder of drawings: elements of SVG, whose text and attributes are escaped by the standard library."""

from collections.abc import Sequence
from xml.etree import ElementTree

from django.utils.safestring import SafeString, mark_safe

from cutover.visible import visible

Element = ElementTree.Element


def element(tag: str, *children: Element, text: str = "", **attributes: object) -> Element:
    """An element; ``class_`` and ``for_`` lose their underscore, any other becomes a hyphen; numbers have one digit."""
    named = {name.rstrip("_").replace("_", "-"): _value(value) for name, value in attributes.items()}
    made = ElementTree.Element(tag, named)
    made.text = text or None
    made.extend(children)
    return made


def titled(made: Element, text: str) -> Element:
    """With what is read out, and shown to who points at it."""
    made.insert(0, element("title", text=visible(text)))
    return made


def drawing(width: float, height: float, name: str, title: str, described: str, parts: Sequence[Element]) -> SafeString:
    """A whole drawing that scales; ``name``: unique on its page."""
    ids = f"{name}-title", f"{name}-desc"
    whole = element(
        "svg",
        element("title", id=ids[0], text=title),
        element("desc", id=ids[1], text=described),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=" ".join(ids),
    )
    return mark_safe(ElementTree.tostring(whole, encoding="unicode"))  # noqa: S308 - escaped as it was written


def number(value: float) -> str:
    """A coordinate: one digit after the point is finer than any screen."""
    return f"{value:.1f}".removesuffix(".0")


def _value(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
