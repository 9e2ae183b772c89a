import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConfirmListener;
import com.rabbitmq.client.MessageProperties;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** Publisher confirms: one by one, in batches, and as they come. */
final class Confirms {
    private static final String QUEUE = "java.confirms";

    private static Channel confirmer(Broker broker, Map<String, Object> arguments) throws Exception {
        broker.owns(QUEUE);
        Channel channel = broker.channel("publisher");
        channel.queueDeclare(QUEUE, true, false, false, arguments);
        channel.confirmSelect();
        return channel;
    }

    private static void publish(Channel channel, String body) throws Exception {
        Broker.send(channel, QUEUE, body, MessageProperties.MINIMAL_PERSISTENT_BASIC);
    }

    private static void assertStored(Channel channel, int count) throws Exception {
        Broker.equal("length", channel.messageCount(QUEUE), (long) count);
        for (String body : Broker.numbers(0, count)) {
            Broker.equal("stored", Broker.text(channel.basicGet(QUEUE, true).getBody()), body);
        }
    }

    public static void oneByOne(Broker broker) throws Exception {
        Channel channel = confirmer(broker, null);
        for (int n = 0; n < 100; n++) {
            Broker.equal("tag", channel.getNextPublishSeqNo(), n + 1L);
            publish(channel, Integer.toString(n));
            channel.waitForConfirmsOrDie(Broker.WAIT_MS);
            Broker.equal("length", channel.messageCount(QUEUE), n + 1L);
        }
        assertStored(channel, 100);
    }

    public static void inBatches(Broker broker) throws Exception {
        Channel channel = confirmer(broker, null);
        for (int batch = 0; batch < 1000; batch += 100) {
            for (String body : Broker.numbers(batch, batch + 100)) {
                publish(channel, body);
            }
            channel.waitForConfirmsOrDie(Broker.WAIT_MS);
            Broker.equal("length", channel.messageCount(QUEUE), batch + 100L);
        }
        assertStored(channel, 1000);
    }

    public static void asTheyCome(Broker broker) throws Exception {
        final int count = 5000;
        final int window = 500;
        Channel channel = confirmer(broker, null);
        ConcurrentSkipListSet<Long> open = new ConcurrentSkipListSet<>();
        BlockingQueue<String> faults = new LinkedBlockingQueue<>();
        Semaphore room = new Semaphore(window);
        channel.addConfirmListener(new ConfirmListener() {
            @Override
            public void handleAck(long tag, boolean multiple) {
                SortedSet<Long> settled = multiple ? new TreeSet<>(open.headSet(tag, true)) : new TreeSet<>(Arrays.asList(tag));
                if (settled.isEmpty() || !open.containsAll(settled)) {
                    faults.add("confirmed twice or never sent: " + tag);
                }
                open.removeAll(settled);
                room.release(settled.size());
            }

            @Override
            public void handleNack(long tag, boolean multiple) {
                faults.add("nack of " + tag);
            }
        });
        for (String body : Broker.numbers(0, count)) {
            Broker.check("no confirm in time; open: " + open.size(), room.tryAcquire(Broker.WAIT_MS, TimeUnit.MILLISECONDS));
            open.add(channel.getNextPublishSeqNo());
            publish(channel, body);
        }
        Broker.check("confirms are missing", room.tryAcquire(window, Broker.WAIT_MS, TimeUnit.MILLISECONDS));
        Broker.equal("faults", new ArrayList<>(faults), new ArrayList<>());
        Broker.equal("open", open.size(), 0);
        assertStored(channel, count);
    }

    public static void aFullQueueRefuses(Broker broker) throws Exception {
        Map<String, Object> arguments = new HashMap<>();
        arguments.put("x-max-length", 3);
        arguments.put("x-overflow", "reject-publish");
        Channel channel = confirmer(broker, arguments);
        List<Boolean> outcomes = new ArrayList<>();
        for (String body : Broker.numbers(0, 6)) {
            publish(channel, body);
            outcomes.add(channel.waitForConfirms(Broker.WAIT_MS));
        }
        Broker.equal("outcomes", outcomes, Arrays.asList(true, true, true, false, false, false));
        assertStored(channel, 3);
    }

    public static void unroutableIsReturnedAndThenConfirmed(Broker broker) throws Exception {
        Channel channel = broker.channel("publisher");
        channel.confirmSelect();
        BlockingQueue<String> events = new LinkedBlockingQueue<>();
        channel.addReturnListener((code, text, exchange, key, properties, body) ->
            events.add(code + " " + text + " " + key + " " + Broker.text(body)));
        channel.addConfirmListener(new ConfirmListener() {
            @Override
            public void handleAck(long tag, boolean multiple) {
                events.add("ack " + tag);
            }

            @Override
            public void handleNack(long tag, boolean multiple) {
                events.add("nack " + tag);
            }
        });
        channel.basicPublish("", "java.nowhere", true, null, "returned".getBytes());
        List<String> found = new ArrayList<>();
        for (int n = 0; n < 2; n++) {
            found.add(events.poll(Broker.WAIT_MS, TimeUnit.MILLISECONDS));
        }
        Broker.equal("events", found, Arrays.asList("312 NO_ROUTE java.nowhere returned", "ack 1"));
    }
}
