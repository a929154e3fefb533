"""A web server on this machine that serves shards, and cuts, stalls, redirects and lies as told."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Request", "ShardServer"]


class Request(BaseHTTPRequestHandler):
    """One request; a behavior receives it."""

    server: "ShardServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append((self.path, self.headers.get("Host", ""), self.headers.get("Authorization")))
        behaviors = self.server.behaviors[self.path.partition("?")[0]]
        behavior = behaviors.pop(0) if len(behaviors) > 1 else behaviors[0]
        try:
            behavior(self)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answer(self, data: bytes, length: int | None = None, status: int = 200, **headers: str) -> None:
        """Send a whole answer; `length` is the stated one, by default the true one."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class ShardServer(ThreadingHTTPServer):
    """Maps paths to behaviors; several for one path are used one after the other, the last one from then on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.behaviors: dict[str, list[Callable[[Request], None]]] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.hold = threading.Event()  # what stalls waits for it
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> "ShardServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        pass

    def put(self, path: str, *behaviors: Callable[[Request], None]) -> str:
        """Serve a path; return its address."""
        self.behaviors[path] = list(behaviors)
        return f"http://127.0.0.1:{self.server_port}{path}"
