"""A TCP connection's way through the tests, where it can be cut, slowed, held, or left half-open."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]


class Wire:
    """One way to one server. All methods but ``fix`` break it at once; new connections meet the same fate."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dial: Dial) -> None:
        self._loop = loop
        self._dial = dial
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay_s = 0.0
        self._refusing = False
        self._callers: set[asyncio.StreamWriter] = set()
        self._called: set[asyncio.StreamWriter] = set()
        self._orphans: set[asyncio.StreamWriter] = set()
        self.requests = 0
        """How many requests have passed: a client that waits for each answer sends one at a time."""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset every connection, refuse new ones."""
        self._do(self._cut)

    def slow(self, seconds: float) -> None:
        """Deliver everything this much later."""
        self._do(lambda: setattr(self, "_delay_s", seconds))

    def hold(self) -> None:
        """Deliver nothing, say nothing: a black hole. What was sent meanwhile arrives after ``fix``."""
        self._do(self._flowing.clear)

    def half_open(self) -> None:
        """The server sees its clients gone; they do not hear of it and get no more answers."""
        self._do(self._half_open)

    def fix(self) -> None:
        """Work again. Connections that were half-open are reset now."""
        self._do(self._mend)

    async def close(self) -> None:
        self._server.close()
        for stream in self._callers | self._called:
            stream.transport.abort()

    def _do(self, action: Callable[[], object]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (action(), done.set()))
        done.wait()

    def _cut(self) -> None:
        self._refusing = True
        for stream in self._callers | self._called:
            stream.transport.abort()

    def _half_open(self) -> None:
        self._flowing.clear()
        self._orphans |= self._callers
        for stream in self._called:
            stream.transport.abort()

    def _mend(self) -> None:
        self._refusing, self._delay_s = False, 0.0
        for stream in self._orphans:
            stream.transport.abort()
        self._orphans.clear()
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        self._callers.add(caller)
        called: asyncio.StreamWriter | None = None
        try:
            await self._flowing.wait()
            if self._refusing:
                return
            answers, called = await self._dial()
            self._called.add(called)
            await asyncio.gather(self._pump(reader, called), self._pump(answers, caller))
        except OSError:
            pass  # the server is away: so is the wire
        finally:
            self._callers.discard(caller)
            for stream in (caller, called):
                if stream is not None:
                    self._called.discard(stream)
                    stream.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                await self._flowing.wait()
                self.requests += target in self._called
                target.write(data)
                await target.drain()
        if target not in self._orphans:
            target.transport.abort()


class Wires:
    """All wires of one stage, served by one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._wires: list[Wire] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def to_port(self, port: int) -> Wire:
        """A wire to a server on this machine."""
        return self._open(lambda: asyncio.open_connection(HOST, port))

    def to_socket(self, path: Path) -> Wire:
        """A wire to a server on a unix socket."""
        return self._open(lambda: asyncio.open_unix_connection(path))

    def _open(self, dial: Dial) -> Wire:
        wire = Wire(self._loop, dial)
        asyncio.run_coroutine_threadsafe(wire.open(), self._loop).result()
        self._wires.append(wire)
        return wire

    async def _close(self) -> None:
        for wire in self._wires:
            await wire.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
