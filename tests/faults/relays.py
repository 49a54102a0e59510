"""Relays between a process and a server, whose connections can be reset at a chosen moment."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset, drop what was not sent


class Relay:
    """Passes bytes on between clients and one server.

    Args:
        server: Where the server is now: a path of a Unix socket, or a port on 127.0.0.1.
        listen_at: Path of the Unix socket to listen on; a free port on 127.0.0.1 without it.
    """

    def __init__(self, server: Callable[[], str | int], listen_at: Path | None = None) -> None:
        self._server = server
        if listen_at is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address: str | int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(listen_at))
            self._listener.listen(64)
            self.address = str(listen_at)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self._swallowed: bytes | None = None
        self.answers_swallowed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()
        self.reset()

    def reset(self) -> None:
        """Reset all connections of this moment."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def swallow_answer(self, having: bytes = b"") -> None:
        """Let the next answer that has these bytes not arrive: the server did its work, the client sees a reset."""
        self._swallowed = having

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:
                _close(client)
                continue
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _connect(self) -> socket.socket:
        where = self._server()
        if isinstance(where, int):
            return socket.create_connection(("127.0.0.1", where))
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(where)
        return connection

    def _pass_on(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        # What ends with OSError was closed from the other side, or reset from here.
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if is_answer and self._swallowed is not None and self._swallowed in piece:
                    self._swallowed = None
                    self.answers_swallowed += 1
                    _close(target, source)
                    return
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
            return
        _close(source, target)


def _close(*connections: socket.socket) -> None:
    for connection in connections:
        is_network = connection.family == socket.AF_INET
        with contextlib.suppress(OSError):
            if is_network:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            # Wakes the thread that reads from it and would keep it open; of a network connection only our side is
            # shut down: the other one is to see a reset, not an end.
            connection.shutdown(socket.SHUT_RD if is_network else socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            connection.close()
