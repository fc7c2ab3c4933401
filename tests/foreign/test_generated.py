"""A session over QUIC in the code that flatc makes of the schema for Python, which a foreign client is written with."""

import functools
import uuid

import flatbuffers
import pytest

from client import text_of
from conftest import closing_all, serving
from generated import switchyard_generated as wire
from quic import QuicClient

KINDS = {number: name for name, number in vars(wire.FrameBody).items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def quic_server():
    with serving(["--listen-quic", "127.0.0.1:0"]) as server:
        yield server


@pytest.fixture
def phone(quic_server):
    with closing_all(functools.partial(QuicClient, quic_server)) as phone:
        yield phone()


def finished(builder, table):
    builder.Finish(table)
    return bytes(builder.Output())


def body(text):
    builder = flatbuffers.Builder()
    text = builder.CreateString(text)
    wire.BodyStart(builder)
    wire.BodyAddText(builder, text)
    return finished(builder, wire.BodyEnd(builder))


def frame(kind, **fields):
    """A frame whose fields are numbers, offsets' makers (text and bytes) and structs' (functions of the builder)."""
    builder = flatbuffers.Builder()
    make = {str: builder.CreateString, bytes: builder.CreateByteVector}
    made = {name: make.get(type(value), lambda same: same)(value) for name, value in fields.items()}
    getattr(wire, f"{kind}Start")(builder)
    for name, value in made.items():
        getattr(wire, f"{kind}Add{name}")(builder, value(builder) if callable(value) else value)
    member = getattr(wire, f"{kind}End")(builder)
    wire.FrameStart(builder)
    wire.FrameAddBodyType(builder, getattr(wire.FrameBody, kind))
    wire.FrameAddBody(builder, member)
    return finished(builder, wire.FrameEnd(builder))


def struct(create, *words):
    return lambda builder: create(builder, *words)


def expect(phone, kind):
    """The member of the next frame of this kind."""
    while True:
        received = wire.Frame.GetRootAs(phone.wait(phone.next_frame))
        if KINDS[received.BodyType()] == kind:
            member = getattr(wire, kind)()
            member.Init(received.Body().Bytes, received.Body().Pos)
            return member


def text_in(deliver):
    data = bytes(deliver.Body(at) for at in range(deliver.BodyLength()))
    return wire.Body.GetRootAs(data).Text().decode()


def test_a_session_in_generated_code(quic_server, phone, connect, new_user):
    user, bob = new_user(), connect(quic_server, new_user())
    phone.send(frame("Hello", Token=quic_server.token(user), Device=1))
    welcome = expect(phone, "Welcome")
    assert (welcome.User(), welcome.Device(), welcome.DeliveryWindow()) == (user, 1, 256)

    name = uuid.uuid4()
    high, low = int.from_bytes(name.bytes[:8], "big"), int.from_bytes(name.bytes[8:], "big")
    one, other = sorted((user, bob.user))
    conversation = struct(wire.CreateConversation, one, other)
    message_id = struct(wire.CreateUuid, high, low)
    phone.send(frame("Send", ClientMessageId=message_id, Conversation=conversation, Body=body("generated ✓")))
    accepted = expect(phone, "Accepted")
    assert (accepted.ClientMessageId().High(), accepted.ClientMessageId().Low()) == (high, low)
    assert (accepted.Conversation().High(), accepted.Conversation().Low()) == (one, other)
    assert accepted.Stamp().Sequence() == 1
    assert text_of(bob.expect("deliver")) == "generated ✓"

    said = bob.say(user, "and back ✓")
    deliver = expect(phone, "Deliver")
    assert (deliver.Sender(), deliver.Stamp().Message()) == (bob.user, int(said["message"]))
    assert text_in(deliver) == "and back ✓"
    phone.send(frame("Ack", Conversation=conversation, Delivered=2, Read=2))
    bob.expect_receipt(user, read=2)

    phone.send(frame("Fetch", Request=7, Conversation=conversation, After=0, Limit=10))
    page = expect(phone, "Page")
    assert (page.Request(), page.More(), page.VoidLength()) == (7, False, 0)
    assert [text_in(page.Messages(at)) for at in range(page.MessagesLength())] == ["generated ✓", "and back ✓"]
    marks = {page.Watermarks(at).Member(): page.Watermarks(at).Read() for at in range(page.WatermarksLength())}
    assert marks[user] == 2

    phone.send(frame("Fetch", Request=8, Conversation=struct(wire.CreateConversation, 0, 7), After=0, Limit=10))
    error = expect(phone, "Error")
    assert (error.Code(), error.Request(), error.Fatal(), error.RetryAfterMs()) == (1004, 8, False, None)
    assert error.Reason().decode()

    phone.send(frame("Ping", Nonce=5))
    assert expect(phone, "Pong").Nonce() == 5
    phone.send(frame("Bye"))
    assert phone.expect_close() == (1000, "")
