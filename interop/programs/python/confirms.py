"""Publisher confirms: one by one, in batches, and as they come."""

import functools

import pika

from broker import WAIT_S, connection, count, parameters

QUEUE = "python.confirms"


def program_one_by_one():
    with connection("one by one") as publisher:
        channel = publisher.channel()
        channel.queue_declare(queue=QUEUE, durable=True)
        channel.confirm_delivery()
        for n in range(50):
            channel.basic_publish("", QUEUE, b"%d" % n, pika.BasicProperties(delivery_mode=2), mandatory=True)
            assert count(channel, QUEUE) == n + 1
        assert [channel.basic_get(QUEUE, auto_ack=True)[2] for _ in range(50)] == [b"%d" % n for n in range(50)]
        channel.queue_delete(QUEUE)


def program_a_full_queue_refuses():
    """x-overflow=reject-publish is the nack that a publisher can be sure of."""
    with connection("full queue") as publisher:
        channel = publisher.channel()
        channel.queue_declare(queue=QUEUE, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
        channel.confirm_delivery()
        outcomes = []
        for n in range(6):
            try:
                channel.basic_publish("", QUEUE, b"%d" % n)
                outcomes.append("ack")
            except pika.exceptions.NackError as nack:
                assert [returned.body for returned in nack.messages] == [], nack.messages
                outcomes.append("nack")
        assert outcomes == ["ack"] * 3 + ["nack"] * 3, outcomes
        assert channel.queue_delete(QUEUE).method.message_count == 3


def program_unroutable_is_returned_and_then_confirmed():
    with connection("unroutable") as publisher:
        channel = publisher.channel()
        channel.confirm_delivery()
        channel.basic_publish("", "python.nowhere", b"dropped")
        try:
            channel.basic_publish("", "python.nowhere", b"returned", pika.BasicProperties(message_id="m"), mandatory=True)
            raise AssertionError("the message was routed")
        except pika.exceptions.UnroutableError as error:
            (returned,) = error.messages
            assert returned.method.reply_code == 312 and returned.method.routing_key == "python.nowhere", returned.method
            assert returned.properties.message_id == "m" and returned.body == b"returned"


class Publisher:
    """pika's event-driven connection: publishes up to `window` messages beyond the last confirm.

    Records what came back in `events`: ("ack" | "nack" | "return", tag or body).
    """

    def __init__(self, total, window, refill_at):
        self.total, self.window, self.refill_at = total, window, refill_at
        self.sent = 0
        self.open = set()
        self.events = []
        self.error = None
        self.connection = pika.SelectConnection(
            parameters("asynchronous"),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self.on_channel),
            on_open_error_callback=self.on_failure,
            on_close_callback=lambda connection, reason: connection.ioloop.stop(),
        )

    def run(self):
        self.connection.ioloop.call_later(WAIT_S, functools.partial(self.on_failure, None, "deadline"))
        self.connection.ioloop.start()
        assert self.error is None, (self.error, self.sent, len(self.open))

    def on_failure(self, _, error):
        self.error = error
        self.connection.ioloop.stop()

    def on_channel(self, channel):
        self.channel = channel
        channel.add_on_return_callback(lambda _channel, method, _properties, body: self.events.append(("return", body)))
        channel.confirm_delivery(self.on_confirm, callback=lambda _: self.publish())

    def publish(self):
        while self.sent < self.total and len(self.open) < self.window:
            self.sent += 1
            self.open.add(self.sent)
            key = "python.nowhere" if self.sent % 100 == 0 else QUEUE
            self.channel.basic_publish("", key, b"%d" % self.sent, pika.BasicProperties(delivery_mode=2), mandatory=True)

    def on_confirm(self, frame):
        method = frame.method
        settled = {tag for tag in self.open if tag <= method.delivery_tag} if method.multiple else {method.delivery_tag}
        if not settled <= self.open:
            self.on_failure(None, f"confirmed twice or never sent: {settled - self.open}")
            return
        self.open -= settled
        self.events += [("ack" if isinstance(method, pika.spec.Basic.Ack) else "nack", tag) for tag in sorted(settled)]
        if self.sent == self.total and not self.open:
            self.connection.close()
        elif len(self.open) <= self.refill_at:
            self.publish()


def publish_all(total, window, refill_at):
    with connection("count") as reader:
        channel = reader.channel()
        channel.queue_declare(queue=QUEUE, durable=True)
        publisher = Publisher(total, window, refill_at)
        publisher.run()

        assert sorted(tag for kind, tag in publisher.events if kind == "ack") == list(range(1, total + 1))
        unroutable = [b"%d" % n for n in range(1, total + 1) if n % 100 == 0]
        assert [body for kind, body in publisher.events if kind == "return"] == unroutable
        for body in unroutable:
            returned, acked = publisher.events.index(("return", body)), publisher.events.index(("ack", int(body)))
            assert returned < acked, f"{body} was confirmed before it was returned"

        routed = [b"%d" % n for n in range(1, total + 1) if n % 100]
        assert count(channel, QUEUE) == len(routed)
        assert [channel.basic_get(QUEUE, auto_ack=True)[2] for _ in routed] == routed
        channel.queue_delete(QUEUE)


def program_in_batches():
    publish_all(total=1000, window=100, refill_at=0)


def program_asynchronous():
    publish_all(total=2000, window=500, refill_at=499)
