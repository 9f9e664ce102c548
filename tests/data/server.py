"""A web server for one file, as good or as bad as a test needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Server(ThreadingHTTPServer):
    def __init__(self, content: bytes, *, ranges: bool = True, breaks: int = 0, status: int = 200):
        """Breaks the first `breaks` answers off in their middle; with another `status` it gives nothing but that."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content, self.ranges, self.breaks, self.status = content, ranges, breaks, status
        self.asked: list[str | None] = []  # the Range header of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.zip"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        status = server.status if server.status != 200 else 206 if start else 200
        if status == 206 and start >= len(server.content):
            status = 416
        body = server.content[start:] if status in (200, 206) else b"no"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serve(content: bytes, **behaviour) -> Iterator[Server]:
    with Server(content, **behaviour) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
