"""A mail server on this machine that keeps what it gets, on a thread of its own."""

from __future__ import annotations

import socketserver
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import NamedTuple, Self


class Mail(NamedTuple):
    """A mail as it arrived."""

    to: str
    subject: str
    text: str
    html: str


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def handle(self) -> None:
        recipients: list[str] = []
        self._say("220 mailbox ESMTP")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
            if verb == "DATA":
                self._say("354 go on")
                self.server.keep(recipients, self._content())
                recipients = []
            if verb == "QUIT":
                self._say("221 bye")
                return
            self._say("250-mailbox\r\n250 8BITMIME" if verb == "EHLO" else "250 ok")

    def _content(self) -> bytes:
        lines = iter(self.rfile.readline, b".\r\n")
        return b"".join(line.removeprefix(b".") for line in lines)


class Mailbox(socketserver.ThreadingTCPServer):
    """Keeps the mails in the order in which they came."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[Mail] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def keep(self, recipients: list[str], content: bytes) -> None:
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        parts = {kind: message.get_body((kind,)) for kind in ("plain", "html")}
        text, html = (part.get_content() if part else "" for part in parts.values())
        self.mails += [Mail(to, str(message["Subject"]), text, html) for to in recipients]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
