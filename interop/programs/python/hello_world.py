"""Tutorial one: one sender, one queue, one receiver."""

import pika

from broker import END, Reader, connection, count

QUEUE = "python.hello"


def program_one_message():
    with connection("receiver") as receiver, connection("sender") as sender:
        channel = sender.channel()
        channel.queue_declare(queue=QUEUE)
        channel.basic_publish(exchange="", routing_key=QUEUE, body=b"Hello World!")
        channel.basic_publish(exchange="", routing_key=QUEUE, body=END)

        inbox = receiver.channel()
        declared = inbox.queue_declare(queue=QUEUE)
        assert declared.method.queue == QUEUE, declared
        reader = Reader(inbox, QUEUE, auto_ack=True)
        assert reader.wait_for_end() == [b"Hello World!"]

        method, _, _ = reader.deliveries[0]
        assert method.exchange == "" and method.routing_key == QUEUE, method
        assert method.consumer_tag == reader.tag and method.delivery_tag == 1, method
        assert not method.redelivered, method
        assert count(inbox, QUEUE) == 0
        assert inbox.queue_delete(QUEUE).method.message_count == 0


def program_messages_keep_their_order_and_sizes():
    bodies = [bytes([n % 256]) * size for n, size in enumerate([0, 1, 4088, 131064, 131065, 400_000] + [10] * 500)]
    with connection("order") as both:
        channel = both.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        assert queue.startswith("amq.gen-"), queue
        reader = Reader(channel, queue, auto_ack=True)
        for body in [*bodies, END]:
            channel.basic_publish("", queue, body)
        assert reader.wait_for_end() == bodies
        assert [method.delivery_tag for method, _, _ in reader.deliveries] == list(range(1, len(bodies) + 2))


def program_properties_arrive_as_sent():
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers={"text": "täxt", "number": -5, "big": 2**40, "yes": True, "list": [1, "two", {"three": None}], "table": {"a": {"b": "c"}}},
        delivery_mode=2,
        priority=3,
        correlation_id="c-1",
        reply_to="somewhere",
        expiration="60000",
        message_id="m-1",
        timestamp=1_700_000_000,
        type="greeting",
        user_id="guest",
        app_id="interop",
    )
    with connection("properties") as both:
        channel = both.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"{}", sent)
        channel.basic_publish("", queue, b"bare")
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        assert body == b"{}" and method.message_count == 1, method
        assert properties == sent, properties
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        assert body == b"bare" and properties == pika.BasicProperties(), properties
        assert channel.basic_get(queue) == (None, None, None)
