"""Tutorial two: durable tasks, shared among workers that acknowledge what they have done."""

import subprocess
import sys

import pika

from broker import END, Reader, connection, count, wait_for_count

QUEUE = "python.task_queue"
PERSISTENT = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)


def tasks(channel, number):
    """Declares the queue and fills it, and comes back when the broker has taken all of it."""
    channel.queue_declare(queue=QUEUE, durable=True)
    channel.confirm_delivery()
    bodies = [b"task %d" % n for n in range(number)]
    for body in bodies:
        channel.basic_publish("", QUEUE, body, PERSISTENT)
    assert count(channel, QUEUE) == number
    return bodies


def worker(connection):
    channel = connection.channel()
    channel.queue_declare(queue=QUEUE, durable=True)
    channel.basic_qos(prefetch_count=1)
    return channel


def program_fair_dispatch():
    """A worker that is busy gets nothing more; the one that is free gets all the rest."""
    with connection("boss") as boss, connection("slow") as slow, connection("quick") as quick:
        bodies = tasks(boss.channel(), 20)
        slow_reader = Reader(worker(slow), QUEUE)
        assert slow_reader.wait_for(1) == bodies[:1]
        quick_reader = Reader(worker(quick), QUEUE, ack=True)
        assert quick_reader.wait_for(19) == bodies[1:]
        slow.process_data_events(time_limit=0)
        assert slow_reader.bodies() == bodies[:1]

        method, properties, _ = slow_reader.deliveries[0]
        assert properties.delivery_mode == 2, properties
        slow_reader.channel.basic_ack(method.delivery_tag)
        slow_reader.channel.basic_cancel(slow_reader.tag)
        assert not any(method.redelivered for method, _, _ in quick_reader.deliveries)
        quick_reader.channel.basic_publish("", QUEUE, END)
        assert quick_reader.wait_for_end() == bodies[1:]
        quick_reader.channel.basic_cancel(quick_reader.tag)
        assert quick_reader.channel.queue_delete(QUEUE).method.message_count == 0


def program_round_robin():
    """Without any difference in speed, tasks go to the workers in turn."""
    with connection("boss") as boss, connection("workers") as workers:
        channel = workers.channel()
        channel.queue_declare(queue=QUEUE, durable=True)
        readers = [Reader(channel, QUEUE) for _ in range(3)]
        bodies = tasks_unread(boss.channel(), 30)
        readers[2].wait_for(10)
        assert [reader.wait_for(10) for reader in readers] == [bodies[n::3] for n in range(3)]
        channel.basic_ack(0, multiple=True)
        channel.queue_delete(QUEUE)


def tasks_unread(channel, number):
    bodies = [b"task %d" % n for n in range(number)]
    for body in bodies:
        channel.basic_publish("", QUEUE, body, PERSISTENT)
    return bodies


def program_redelivery_when_a_worker_dies():
    with connection("boss") as boss, connection("heir") as heir:
        channel = boss.channel()
        bodies = tasks(channel, 5)
        script = [sys.executable, "dying_worker.py", QUEUE]
        with subprocess.Popen(script, stdout=subprocess.PIPE) as dying:
            try:
                assert dying.stdout.readline().strip() == bodies[0]
                assert count(channel, QUEUE) == 4
            finally:
                dying.kill()
        wait_for_count(channel, QUEUE, 5)

        heir_reader = Reader(worker(heir), QUEUE, ack=True)
        assert heir_reader.wait_for(5) == bodies
        assert [method.redelivered for method, _, _ in heir_reader.deliveries] == [True] + [False] * 4
        heir_reader.channel.basic_cancel(heir_reader.tag)
        assert channel.queue_delete(QUEUE).method.message_count == 0


def program_redelivery_when_a_channel_closes():
    """What a channel held goes back to its place, ahead of what it had not yet been given."""
    with connection("boss") as boss, connection("worker") as other:
        channel = boss.channel()
        bodies = tasks(channel, 6)
        held = other.channel()
        held.basic_qos(prefetch_count=4)
        reader = Reader(held, QUEUE)
        assert reader.wait_for(4) == bodies[:4]
        held.basic_ack(reader.deliveries[1][0].delivery_tag)
        assert reader.wait_for(5) == bodies[:5]
        held.close()
        wait_for_count(channel, QUEUE, 5)

        reader = Reader(other.channel(), QUEUE, ack=True)
        assert reader.wait_for(5) == [bodies[0], *bodies[2:]]
        redelivered = [method.redelivered for method, _, _ in reader.deliveries]
        assert redelivered == [True] * 4 + [False], redelivered
        channel.queue_delete(QUEUE)


def program_nack_puts_back_or_drops():
    with connection("worker") as both:
        channel = both.channel()
        bodies = tasks(channel, 3)
        tags = []
        for body in bodies:
            method, _, found = channel.basic_get(QUEUE)
            assert found == body and not method.redelivered
            tags.append(method.delivery_tag)
        channel.basic_nack(tags[1], multiple=True, requeue=True)
        channel.basic_reject(tags[2], requeue=False)
        again = [channel.basic_get(QUEUE, auto_ack=True) for _ in range(2)]
        assert [(method.redelivered, body) for method, _, body in again] == [(True, body) for body in bodies[:2]]
        assert channel.basic_get(QUEUE) == (None, None, None)
        channel.queue_delete(QUEUE)


def program_a_redeclare_must_agree():
    """The tutorial warns that a queue cannot be declared anew with other arguments."""
    with connection("declare") as both:
        channel = both.channel()
        channel.queue_declare(queue=QUEUE, durable=True)
        channel.queue_declare(queue=QUEUE, durable=True)
        try:
            both.channel().queue_declare(queue=QUEUE, durable=True, arguments={"x-max-length": 5})
            raise AssertionError("the declare was allowed")
        except pika.exceptions.ChannelClosedByBroker as closed:
            assert closed.reply_code == 406, closed
            assert closed.reply_text.startswith(f"PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '{QUEUE}' in vhost '"), closed
        channel.queue_delete(QUEUE)
