"""Tutorial four: a direct exchange, and queues that ask for the keys they want."""

from broker import END, Reader, connection

EXCHANGE = "python.direct_logs"


def subscriber(channel, *keys):
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    for key in keys:
        channel.queue_bind(queue, EXCHANGE, routing_key=key)
    return queue


def program_keys_select():
    with connection("receivers") as receivers, connection("emitter") as emitter:
        inbox, channel = receivers.channel(), emitter.channel()
        inbox.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
        disk = subscriber(inbox, "error")
        screen = subscriber(inbox, "info", "warning", "error", "error")
        readers = [Reader(inbox, queue, auto_ack=True) for queue in (disk, screen)]

        sent = [("info", b"1"), ("error", b"2"), ("debug", b"3"), ("warning", b"4"), ("error", b"5"), ("errors", b"6"), ("", b"7")]
        for key, body in sent:
            channel.basic_publish(EXCHANGE, key, body)
        for queue in (disk, screen):
            channel.basic_publish("", queue, END)

        assert readers[0].wait_for_end() == [b"2", b"5"]
        assert readers[1].wait_for_end() == [b"1", b"2", b"4", b"5"]
        keys = [method.routing_key for method, _, _ in readers[1].deliveries]
        assert keys == ["info", "error", "warning", "error", screen], keys
        channel.exchange_delete(EXCHANGE)


def program_unbind_stops_the_flow():
    with connection("both") as both:
        channel = both.channel()
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
        queue = subscriber(channel, "a", "b")
        reader = Reader(channel, queue, auto_ack=True)
        channel.basic_publish(EXCHANGE, "a", b"a1")
        channel.queue_unbind(queue, EXCHANGE, routing_key="a")
        channel.basic_publish(EXCHANGE, "a", b"a2")
        channel.basic_publish(EXCHANGE, "b", b"b1")
        channel.basic_publish("", queue, END)
        assert reader.wait_for_end() == [b"a1", b"b1"]
        channel.exchange_delete(EXCHANGE)
