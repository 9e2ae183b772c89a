"""Tutorial six: calls over queues, with a reply queue of one's own and with direct reply-to."""

import threading
import uuid

import pika

from broker import Reader, WAIT_S, connection, wait

QUEUE = "python.rpc_queue"


def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


class Server(threading.Thread):
    """Answers on a connection of its own until told to stop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ready = threading.Event()
        self.error = None

    def run(self):
        try:
            with connection("rpc server") as self.connection:
                self.channel = self.connection.channel()
                self.channel.queue_declare(queue=QUEUE)
                self.channel.basic_qos(prefetch_count=1)
                self.channel.basic_consume(queue=QUEUE, on_message_callback=self.on_request)
                self.ready.set()
                self.channel.start_consuming()
                self.channel.queue_delete(QUEUE)
        except Exception as error:
            self.error = error
            self.ready.set()

    def on_request(self, channel, method, properties, body):
        channel.basic_publish(
            exchange="",
            routing_key=properties.reply_to,
            properties=pika.BasicProperties(correlation_id=properties.correlation_id),
            body=str(fibonacci(int(body))),
        )
        channel.basic_ack(delivery_tag=method.delivery_tag)

    def __enter__(self):
        self.start()
        assert self.ready.wait(WAIT_S) and not self.error, self.error
        return self

    def __exit__(self, *_):
        if self.is_alive():
            self.connection.add_callback_threadsafe(self.channel.stop_consuming)
        self.join(WAIT_S)
        assert not self.is_alive() and not self.error, self.error


class Client:
    def __init__(self, connection, reply_to=None):
        self.channel = connection.channel()
        self.reply_to = reply_to or self.channel.queue_declare("", exclusive=True).method.queue
        self.replies = Reader(self.channel, self.reply_to, auto_ack=True)

    def send(self, n):
        correlation_id = str(uuid.uuid4())
        self.channel.basic_publish(
            "", QUEUE, str(n), pika.BasicProperties(reply_to=self.reply_to, correlation_id=correlation_id), mandatory=True
        )
        return correlation_id

    def results(self, correlation_ids):
        wait(self.channel.connection, lambda: len(self.replies.deliveries) >= len(correlation_ids), "replies")
        found = [(properties.correlation_id, int(body)) for _, properties, body in self.replies.deliveries]
        assert [id for id, _ in found] == correlation_ids, found
        return [number for _, number in found]


def program_calls_over_a_reply_queue():
    with Server(), connection("one") as one, connection("two") as two:
        clients = [Client(one), Client(two)]
        asked = [[], []]
        for n in range(20):
            for client, ids in zip(clients, asked):
                ids.append(client.send(n))
        for client, ids in zip(clients, asked):
            assert client.results(ids) == [fibonacci(n) for n in range(20)]


def program_calls_over_direct_reply_to():
    with Server(), connection("one") as one, connection("two") as two:
        clients = [Client(one, "amq.rabbitmq.reply-to"), Client(two, "amq.rabbitmq.reply-to")]
        asked = [[], []]
        for n in range(20):
            for client, ids in zip(clients, asked):
                ids.append(client.send(n))
        for client, ids in zip(clients, asked):
            assert client.results(ids) == [fibonacci(n) for n in range(20)]
            method, _, _ = client.replies.deliveries[0]
            assert method.exchange == "" and method.routing_key.startswith("amq.rabbitmq.reply-to"), method


def program_direct_reply_to_needs_a_consumer():
    with connection("no consumer") as both:
        channel = both.channel()
        channel.queue_declare(queue=QUEUE, auto_delete=True)
        channel.basic_publish("", QUEUE, b"1", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
        try:
            channel.queue_declare(QUEUE, passive=True)
            raise AssertionError("the publish was allowed")
        except pika.exceptions.ChannelClosedByBroker as closed:
            assert closed.reply_code == 406, closed
            assert "fast reply consumer does not exist" in closed.reply_text, closed
        both.channel().queue_delete(QUEUE)
