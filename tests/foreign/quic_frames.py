"""Frames of QUIC (RFC 9000 §19) as bytes, right and wrong ones."""

from aioquic.buffer import encode_uint_var as varint

# For stateless resets.
TOKEN = b"t" * 16


def frame(kind, *fields):
    """A frame from its type and its fields: numbers of variable length, and bytes as they are."""
    return varint(kind) + b"".join(field if isinstance(field, bytes) else varint(field) for field in fields)


def crypto(data, offset=0):
    return frame(0x06, offset, len(data), data)


def stream(id_, data=b"x", offset=0, fin=False):
    return frame(0x0E | fin, id_, offset, len(data), data)


def new_id(sequence, retire_prior_to=0, bytes_=8, fill=b"n"):
    id_ = (bytes([sequence % 256]) + fill * bytes_)[:bytes_]
    return frame(0x18, sequence, retire_prior_to, bytes([bytes_]), id_, TOKEN)
