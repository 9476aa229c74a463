"""A very plain SMTP server (EHLO offers 8BITMIME and nothing else) that answers and breaks off as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.deliveries.tcp import listening


class PlainServer:
    """`answers` maps a verb (CONNECT and DOT included) to its reply; "" breaks the connection off instead.

    `again` gives further replies by verb, one a call, before `answers` holds.
    """

    def __init__(self, **answers: str) -> None:
        self.answers = {
            "CONNECT": "220 plain",
            "DATA": "354 go on",
            "DOT": "250 kept",
            "QUIT": "221 bye",
            "EHLO": "502 what?",
            **answers,
        }
        self.again: dict[str, list[str]] = {}
        self.extensions: list[str] = []
        self.knows_ehlo = True
        self.mails: list[tuple[str, bytes]] = []
        self.commands: list[str] = []
        self.connections = self.open = self.most_open = 0
        self.read_of_mail: int | None = None  #: bytes of a mail to read before breaking off
        self.closes_after: int | None = None  #: mails on a connection before the server closes it
        self.port = 0

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[PlainServer]:
        async with listening(self._serve, tls, backlog=5) as self.port:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await self._talk(reader, writer)
        finally:
            self.open -= 1

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to, kept = "", 0
        self._say(writer, "CONNECT")
        while line := (await reader.readline()).decode().strip():
            self.commands.append(line)
            verb = line[:4].upper()
            if verb == "EHLO" and self.knows_ehlo:
                names = ["plain", *self.extensions, "8BITMIME"]
                for name in names[:-1]:
                    writer.write(f"250-{name}\r\n".encode())
                writer.write(f"250 {names[-1]}\r\n".encode())
                continue
            if verb == "RCPT":
                to = line.split("<")[1].split(">")[0]
            if self._say(writer, verb).startswith("354"):
                if self.read_of_mail is not None:
                    await reader.readexactly(self.read_of_mail)
                    raise ConnectionAbortedError
                content = await reader.readuntil(b"\r\n.\r\n")
                if self._say(writer, "DOT").startswith("2"):
                    self.mails.append((to, content[:-3]))
                kept += 1
            if verb == "QUIT" or kept == self.closes_after:
                await writer.drain()
                return

    def _say(self, writer: asyncio.StreamWriter, verb: str) -> str:
        waiting = self.again.get(verb)
        reply = waiting.pop(0) if waiting else self.answers.get(verb, "250 ok")
        if not reply:
            raise ConnectionAbortedError
        writer.write(reply.encode() + b"\r\n")
        return reply
