"""What every program needs: a connection, a bounded wait, and names that no other program uses.

Programs end a stream of messages with END, published straight to the queue that is read. What a
queue delivered is then everything up to END, so "no more than these" needs no waiting for silence.
"""

import contextlib
import os
import time

import pika

WAIT_S = 20
END = b"end of this queue"


def url():
    return os.environ["LEVERET_AMQP_URL"]


def parameters(name):
    parameters = pika.URLParameters(url())
    parameters.client_properties = {"connection_name": f"interop python {name}"}
    parameters.blocked_connection_timeout = WAIT_S
    parameters.socket_timeout = WAIT_S
    parameters.stack_timeout = WAIT_S
    return parameters


@contextlib.contextmanager
def connection(name):
    """A connection that is closed at the end, whatever happened."""
    connection = pika.BlockingConnection(parameters(name))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


class Reader:
    """A consumer that keeps what it was given, in order."""

    def __init__(self, channel, queue, auto_ack=False, ack=False, **options):
        self.channel = channel
        self.queue = queue
        self.ack = ack
        self.deliveries = []
        self.tag = channel.basic_consume(queue, self._on_message, auto_ack=auto_ack, **options)

    def _on_message(self, channel, method, properties, body):
        self.deliveries.append((method, properties, body))
        if self.ack:
            channel.basic_ack(method.delivery_tag)

    def bodies(self):
        return [body for _, _, body in self.deliveries]

    def wait_for(self, count):
        """Reads until `count` messages in all have come, and returns their bodies."""
        wait(self.channel.connection, lambda: len(self.deliveries) >= count, f"{count} messages, have {self.bodies()}")
        return self.bodies()

    def wait_for_end(self):
        """Reads until END has come, and returns the bodies before it."""
        wait(self.channel.connection, lambda: END in self.bodies(), f"END, have {self.bodies()}")
        assert self.bodies()[-1] == END, self.bodies()
        return self.bodies()[:-1]


def wait(connection, condition, what):
    """Serves the connection until `condition` holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        left = deadline - time.monotonic()
        assert left > 0, f"not within {WAIT_S} s: {what}"
        connection.process_data_events(time_limit=min(left, 0.2))


def count(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def wait_for_count(channel, queue, expected):
    """Asks for the queue's length until it is `expected`: no event tells of another's death."""
    deadline = time.monotonic() + WAIT_S
    while (found := count(channel, queue)) != expected:
        assert time.monotonic() < deadline, f"{queue} has {found} messages, not {expected}"
        channel.connection.process_data_events(time_limit=0.02)
