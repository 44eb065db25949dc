"""Frames of the runner's socket: u32 header length, u32 body length, a JSON header, a body (core/protocol.ts)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

PROTOCOL_VERSION = 1
MAX_HEADER_BYTES = 256 * 1024
MAX_BODY_BYTES = 1024 * 1024
INLINE_BYTES = 256 * 1024
STREAM_WINDOW_BYTES = 1024 * 1024
#: One yielded value; and what may be yielded without being stored, in chunks and in bytes.
CHUNK_BYTES = MAX_BODY_BYTES
CHUNK_WINDOW = 1024
CHUNK_WINDOW_BYTES = 1024 * 1024
#: Bytes of a stream that go into one frame.
STREAM_CHUNK_BYTES = 128 * 1024

PREFIX = struct.Struct(">II")
_encode_header = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_decode_header = json.JSONDecoder().decode

Header = dict[str, Any]


class ProtocolError(Exception):
    """The runner sent something that is no frame."""


def encode(header: Header, body: bytes = b"") -> bytes:
    """A frame's bytes. Lone surrogates become JSON escapes, so every string can be sent."""
    return encode_raw(_encode_header(header).encode("utf-8", "backslashreplace"), body)


def encode_raw(head: bytes, body: bytes) -> bytes:
    """A frame's bytes from a header that is JSON already."""
    return b"".join((PREFIX.pack(len(head), len(body)), head, body))


class Decoder:
    """Takes bytes as they arrive and gives the frames that are whole."""

    def __init__(self) -> None:
        self._held = b""
        self._wanted = PREFIX.size

    def feed(self, chunk: bytes) -> Iterator[tuple[Header, bytes]]:
        data = self._held + chunk if self._held else chunk
        self._held = b""
        at, size = 0, len(data)
        while size - at >= PREFIX.size:
            head, body = PREFIX.unpack_from(data, at)
            if head > MAX_HEADER_BYTES or body > MAX_BODY_BYTES:
                raise ProtocolError(f"a frame of {head} + {body} bytes is over the limit")
            start = at + PREFIX.size
            end = start + head + body
            if end > size:
                break
            try:
                header = _decode_header(data[start : start + head].decode())
            except ValueError as error:
                raise ProtocolError("a frame's header is not JSON") from error
            yield header, data[start + head : end]
            at = end
        if at < size:
            self._held = data[at:] if at else data
