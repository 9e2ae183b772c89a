"""Tutorial three: a fanout exchange gives every subscriber a copy."""

import time

import pika

from broker import END, Reader, WAIT_S, connection

EXCHANGE = "python.logs"


def subscriber(connection):
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.queue_bind(exchange=EXCHANGE, queue=queue)
    return Reader(channel, queue, auto_ack=True)


def program_every_subscriber_gets_everything():
    with connection("first") as first, connection("second") as second, connection("emitter") as emitter:
        channel = emitter.channel()
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")
        channel.confirm_delivery()
        channel.basic_publish(EXCHANGE, "", b"nobody listens yet")

        lines = [b"line %d" % n for n in range(20)]
        early = subscriber(first)
        for line in lines[:10]:
            channel.basic_publish(EXCHANGE, "the key plays no part", line)
        late = subscriber(second)
        for line in [*lines[10:], END]:
            channel.basic_publish(EXCHANGE, "", line)

        assert early.wait_for_end() == lines
        assert late.wait_for_end() == lines[10:]
        assert {method.exchange for method, _, _ in early.deliveries} == {EXCHANGE}
        channel.exchange_delete(EXCHANGE)


def wait_for_the_end_of(connection, queue):
    """A connection's exclusive queues may outlive its close by a moment, in which they are locked."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            connection.channel().queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as closed:
            if closed.reply_code == 404:
                return
            assert closed.reply_code == 405, closed
    raise AssertionError(f"{queue} is still there")


def program_exclusive_queues_end_with_their_connection():
    with connection("emitter") as emitter:
        channel = emitter.channel()
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="fanout")
        channel.confirm_delivery()
        with connection("passing") as passing:
            queue = subscriber(passing).queue
            channel.basic_publish(EXCHANGE, "", b"heard", mandatory=True)
        wait_for_the_end_of(emitter, queue)
        try:
            channel.basic_publish(EXCHANGE, "", b"unheard", mandatory=True)
            raise AssertionError("the message was routed")
        except pika.exceptions.UnroutableError as error:
            (returned,) = error.messages
            assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE"), returned.method
            assert returned.body == b"unheard"
        channel.exchange_delete(EXCHANGE)
