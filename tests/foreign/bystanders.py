"""Two users who talk with one another, whatever happens around them."""

import uuid

from client import Client, text_of

USERS = (900_001, 900_002)


def talk(one, other):
    """One message from one to the other, all the way: accepted, delivered, acknowledged and receipted."""
    text = f"undisturbed {uuid.uuid4()}"
    accepted = one.say(other.user, text)
    assert text_of(other.expect("deliver", message=accepted["message"])) == text
    other.ack(one.user, delivered=accepted["sequence"])
    one.expect_receipt(other.user, delivered=int(accepted["sequence"]))


class Bystanders:
    """Sessions that are open before something goes wrong elsewhere, to be used again while it does and afterwards."""

    def __init__(self, server):
        self.pair = [Client.connect(server, user) for user in USERS]

    def talk(self):
        """Fails when they can no longer talk, or when anything came that was not meant for them."""
        talk(*self.pair)
        strays = [frame for client in self.pair for frame in client.inbox if frame["type"] in ("deliver", "error")]
        assert strays == [], "what others do is between them and the server"

    def close(self):
        for client in self.pair:
            client.close()
