"""A server that takes pings, as healthchecks.io does."""

import http.server
import re
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True)
class Ping:
    """One ping: ``word`` is ``start``, ``fail``, or empty for a success; ``due``: the instant that its text names."""

    slug: str
    word: str
    rid: str
    text: str

    @property
    def due(self) -> str:
        return re.findall(r"due (\S+):", self.text)[0]


class Pings:
    """Listens while its ``with`` block runs; ``answers``: the statuses of the next answers, then 200.

    ``location``: where all of them lead, for answers that redirect.
    """

    def __init__(self) -> None:
        self.heard: list[Ping] = []
        self.answers: list[int] = []
        self.location = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                parts = urlsplit(self.path)
                slug, _, word = parts.path.strip("/").partition("/")
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.heard.append(Ping(slug, word, parse_qs(parts.query)["rid"][0], text))
                self.send_response(outer.answers.pop(0) if outer.answers else 200)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, word: str) -> dict[str, Ping]:
        """The first ping of each slot with that word, by its key."""
        found: dict[str, Ping] = {}
        for ping in list(self.heard):
            if ping.word == word:
                found.setdefault(ping.rid, ping)
        return found
