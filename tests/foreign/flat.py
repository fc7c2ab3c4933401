"""The binary form, by PyPI `flatbuffers` and the field order of schema/fbs/switchyard.fbs: just enough for tests.

`encode(kind, fields)` writes a Frame; a field is (slot, value) and its value's Python type says how it is written.
`decode(bytes)` gives the kind and a table to read fields from.
"""

import struct
import uuid

import flatbuffers
from flatbuffers import encode as fb_encode
from flatbuffers import number_types, packer
from flatbuffers.table import Table

HELLO, RENEW, SEND, ACK, FETCH, PING, BYE = 1, 2, 3, 4, 5, 30, 31
WELCOME, ACCEPTED, DELIVER, RECEIPT, PAGE, ERROR, PONG = 64, 65, 66, 67, 68, 93, 94


class Words(tuple):
    """A struct of 64-bit numbers."""


def direct(one, other):
    return Words(sorted((one, other)))


def uuid_words(text):
    return Words(struct.unpack(">QQ", uuid.UUID(text).bytes))


def _reference(builder, value):
    """Writes what lies outside the table and gives its offset; other values stay as they are."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, bytes):
        return builder.CreateByteVector(value)
    return None


def _table(builder, fields):
    offsets = {slot: _reference(builder, value) for slot, value in fields}
    builder.StartObject(max((slot for slot, _ in fields), default=-1) + 1)
    for slot, value in fields:
        if offsets[slot] is not None:
            builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
        elif isinstance(value, Words):
            builder.Prep(8, 8 * len(value))
            for word in reversed(value):
                builder.PrependUint64(word)
            builder.PrependStructSlot(slot, builder.Offset(), 0)
        elif slot == 4 and isinstance(value, int):  # Fetch.limit, the only 32-bit number a client sends
            builder.PrependUint32Slot(slot, value, None)
        else:
            builder.PrependUint64Slot(slot, value, None)
    return builder.EndObject()


def _finished(builder, table):
    builder.Finish(table)
    return bytes(builder.Output())


def body(text):
    """The encoded body of a text message."""
    builder = flatbuffers.Builder(64)
    return _finished(builder, _table(builder, [(0, text)]))


def encode(kind, fields):
    """A Frame whose union member has these fields."""
    builder = flatbuffers.Builder(256)
    member = _table(builder, fields)
    builder.StartObject(2)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, member, 0)
    return _finished(builder, builder.EndObject())


def hello(token, device=1):
    return encode(HELLO, [(0, token), (1, device)])


def send(conversation, text, client_message_id=None):
    name = uuid_words(client_message_id or str(uuid.uuid4()))
    return encode(SEND, [(0, name), (1, conversation), (2, body(text))])


def fetch(request, conversation, limit=10, after=0):
    return encode(FETCH, [(0, request), (1, conversation), (2, after), (4, limit)])


class Fields:
    """A received table; a field that is absent reads as None."""

    def __init__(self, table):
        self.table = table

    def _at(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        return offset + self.table.Pos if offset else None

    def number(self, slot, flags=number_types.Uint64Flags):
        at = self._at(slot)
        return None if at is None else self.table.Get(flags, at)

    def words(self, slot, count=2):
        at = self._at(slot)
        return None if at is None else struct.unpack_from(f"<{count}Q", self.table.Bytes, at)

    def text(self, slot):
        at = self._at(slot)
        return None if at is None else self.table.String(at).decode()

    def blob(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        if not offset:
            return None
        start, length = self.table.Vector(offset), self.table.VectorLen(offset)
        return bytes(self.table.Bytes[start : start + length])


def _root(data):
    return Table(data, fb_encode.Get(packer.uoffset, data, 0))


def decode(data):
    """The kind of a received Frame and its member's fields."""
    frame = _root(bytearray(data))
    kind = frame.Get(number_types.Uint8Flags, frame.Offset(4) + frame.Pos)
    return kind, Fields(Table(frame.Bytes, frame.Indirect(frame.Offset(6) + frame.Pos)))


def text_of_body(data):
    return Fields(_root(bytearray(data))).text(0)


def error_code(fields):
    return fields.number(0, number_types.Uint16Flags)
