"""What is written on a page, as a person reads it: tables, lists, and the names of what is drawn."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

VOID: Final = {"br", "input", "link", "meta", "img", "hr"}


@dataclass
class Text:
    """A cell or an item: its words, one space between them, and the instants of its ``time`` elements."""

    words: str = ""
    at: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(self.words.split())


@dataclass
class Table:
    """A table under its caption, or under the heading before it."""

    title: str
    heads: list[str] = field(default_factory=list)
    rows: list[list[Text]] = field(default_factory=list)


class Page(HTMLParser):
    """Reads a whole page. ``named``: each ``aria-label``; ``titles``: each ``title`` of a drawing."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.heading = ""
        self.tables: list[Table] = []
        self.items: list[Text] = []
        self.named: list[str] = []
        self.titles: list[str] = []
        self.texts: dict[str, Text] = {}
        self._open: list[tuple[str, Text | None]] = []
        self._above = Text()
        self.feed(html)

    def table(self, title: str) -> Table:
        """The one table whose title begins so."""
        [found] = [one for one in self.tables if one.title.startswith(title)]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        told = dict(attrs)
        if label := told.get("aria-label"):
            self.named.append(label)
        if tag == "time":
            for _, text in self._open:
                if text is not None:
                    text.at.append(told.get("datetime") or "")
        if tag in VOID:
            self._add(" ")
            return
        text = Text() if tag in {"td", "th", "li", "h1", "h2", "h3", "caption", "title"} or "id" in told else None
        if tag == "table":
            self.tables.append(Table(str(self._above)))
        elif tag == "tr" and self.tables:
            self.tables[-1].rows.append([])
        if text is not None and "id" in told:
            self.texts[told["id"] or ""] = text
        self._open.append((tag, text))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        if label := dict(attrs).get("aria-label"):
            self.named.append(label)

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        self._add(data)

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        if tag in VOID or tag not in {one for one, _ in self._open}:
            return
        while self._open:
            closed, text = self._open.pop()
            if text is not None:
                self._close(closed, text)
            if closed == tag:
                break
        if tag in {"div", "p", "li", "td", "th", "dt", "dd"}:
            self._add(" ")
        if tag == "thead":
            [heads] = self.tables[-1].rows
            self.tables[-1].heads, self.tables[-1].rows = [str(one) for one in heads], []

    def _add(self, data: str) -> None:
        for _, text in self._open:
            if text is not None:
                text.words += data

    def _close(self, tag: str, text: Text) -> None:
        if tag in {"td", "th"}:
            self.tables[-1].rows[-1].append(text)
        elif tag == "li":
            self.items.append(text)
        elif tag == "h1":
            self.heading = self.heading or str(text)
        elif tag in {"h2", "h3"}:
            self._above = text
        elif tag == "caption":
            self.tables[-1].title = str(text)
        elif tag == "title":
            self.titles.append(str(text))
