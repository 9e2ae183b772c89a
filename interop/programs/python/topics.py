"""Tutorial five: a topic exchange matches words, `*` one and `#` any number of them."""

from broker import END, Reader, connection

EXCHANGE = "python.topic_logs"
PATTERNS = {
    "all": ["#"],
    "kernel": ["kern.*"],
    "critical": ["*.critical"],
    "both": ["kern.*", "*.critical"],
    "orange": ["*.orange.*"],
    "rabbits": ["*.*.rabbit", "lazy.#"],
    "inner": ["a.#.z"],
}
EXPECTED = {
    "kern.info": {"all", "kernel", "both"},
    "kern.critical": {"all", "kernel", "critical", "both"},
    "cron.critical": {"all", "critical", "both"},
    "kern": {"all"},
    "kern.a.critical": {"all"},
    "quick.orange.rabbit": {"all", "orange", "rabbits"},
    "lazy.orange.elephant": {"all", "orange", "rabbits"},
    "quick.orange.fox": {"all", "orange"},
    "lazy.brown.fox": {"all", "rabbits"},
    "lazy.pink.rabbit": {"all", "rabbits"},
    "quick.brown.fox": {"all"},
    "orange": {"all"},
    "quick.orange.new.rabbit": {"all"},
    "lazy.orange.new.rabbit": {"all", "rabbits"},
    "lazy": {"all", "rabbits"},
    "": {"all"},
    "a.z": {"all", "inner"},
    "a.b.z": {"all", "inner"},
    "a.b.c.z": {"all", "inner"},
    "a..z": {"all", "inner"},
    "a.z.b": {"all"},
}


def program_patterns_select():
    with connection("receivers") as receivers, connection("emitter") as emitter:
        inbox, channel = receivers.channel(), emitter.channel()
        inbox.exchange_declare(exchange=EXCHANGE, exchange_type="topic")
        readers = {}
        queues = {}
        for name, patterns in PATTERNS.items():
            queues[name] = inbox.queue_declare("", exclusive=True).method.queue
            for pattern in patterns:
                inbox.queue_bind(queues[name], EXCHANGE, routing_key=pattern)
            readers[name] = Reader(inbox, queues[name], auto_ack=True)
        for key in EXPECTED:
            channel.basic_publish(EXCHANGE, key, key.encode())
        for queue in queues.values():
            channel.basic_publish("", queue, END)
        for name, reader in readers.items():
            wanted = [key.encode() for key, names in EXPECTED.items() if name in names]
            assert reader.wait_for_end() == wanted, (name, reader.bodies(), wanted)
        channel.exchange_delete(EXCHANGE)
