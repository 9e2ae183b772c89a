import com.rabbitmq.client.Channel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Tutorials three to five: publish/subscribe, routing and topics. */
final class Exchanges {
    private static final class Receiver {
        final String queue;
        final Reader reader;

        Receiver(Channel channel, String exchange, String... keys) throws Exception {
            queue = channel.queueDeclare().getQueue();
            for (String key : keys) {
                channel.queueBind(queue, exchange, key);
            }
            reader = new Reader(channel, queue, Reader.Acknowledge.BY_BROKER);
        }
    }

    public static void publishSubscribe(Broker broker) throws Exception {
        String exchange = broker.ownsExchange("java.logs");
        Channel emitter = broker.channel("emitter");
        emitter.exchangeDeclare(exchange, "fanout");
        emitter.confirmSelect();
        Broker.send(emitter, exchange, "", "nobody listens yet");
        emitter.waitForConfirmsOrDie(Broker.WAIT_MS);
        Receiver early = new Receiver(broker.channel("early"), exchange, "");
        for (String line : Broker.numbers(0, 10)) {
            Broker.send(emitter, exchange, "the key plays no part", line);
        }
        emitter.waitForConfirmsOrDie(Broker.WAIT_MS);
        Receiver late = new Receiver(broker.channel("late"), exchange, "");
        for (String line : Broker.numbers(10, 20)) {
            Broker.send(emitter, exchange, "", line);
        }
        Broker.send(emitter, exchange, "", Broker.END);
        Broker.equal("early", early.reader.untilEnd(), Broker.numbers(0, 20));
        Broker.equal("late", late.reader.untilEnd(), Broker.numbers(10, 20));
        Broker.equal("exchange", early.reader.taken.get(0).getEnvelope().getExchange(), exchange);
    }

    public static void routing(Broker broker) throws Exception {
        String exchange = broker.ownsExchange("java.direct_logs");
        Channel inbox = broker.channel("receivers");
        Channel emitter = broker.channel("emitter");
        inbox.exchangeDeclare(exchange, "direct");
        Receiver disk = new Receiver(inbox, exchange, "error");
        Receiver screen = new Receiver(inbox, exchange, "info", "warning", "error", "error");
        int n = 0;
        for (String key : Arrays.asList("info", "error", "debug", "warning", "error", "errors", "")) {
            Broker.send(emitter, exchange, key, Integer.toString(n++));
        }
        Broker.send(emitter, "", disk.queue, Broker.END);
        Broker.send(emitter, "", screen.queue, Broker.END);
        Broker.equal("disk", disk.reader.untilEnd(), Arrays.asList("1", "4"));
        Broker.equal("screen", screen.reader.untilEnd(), Arrays.asList("0", "1", "3", "4"));
        Broker.equal("key", screen.reader.taken.get(2).getEnvelope().getRoutingKey(), "warning");

        inbox.queueUnbind(disk.queue, exchange, "error");
        inbox.queueBind(disk.queue, exchange, "debug");
        Broker.send(inbox, exchange, "error", "unbound");
        Broker.send(inbox, exchange, "debug", "bound");
        Broker.send(inbox, "", disk.queue, Broker.END);
        Broker.equal("bound anew", disk.reader.untilEnd(), Arrays.asList("bound"));
    }

    public static void topics(Broker broker) throws Exception {
        String exchange = broker.ownsExchange("java.topic_logs");
        Channel inbox = broker.channel("receivers");
        Channel emitter = broker.channel("emitter");
        inbox.exchangeDeclare(exchange, "topic");
        List<String> keys = Arrays.asList("kern.info", "kern.critical", "cron.critical", "kern", "kern.a.critical",
            "quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.pink.rabbit", "quick.brown.fox",
            "quick.orange.new.rabbit", "lazy.orange.new.rabbit", "lazy", "", "a.z", "a.b.c.z", "a..z", "a.z.b");
        String[][] patterns = {{"#"}, {"kern.*"}, {"*.critical"}, {"kern.*", "*.critical"}, {"*.orange.*"},
            {"*.*.rabbit", "lazy.#"}, {"a.#.z"}};
        List<List<String>> wanted = Arrays.asList(
            keys,
            Arrays.asList("kern.info", "kern.critical"),
            Arrays.asList("kern.critical", "cron.critical"),
            Arrays.asList("kern.info", "kern.critical", "cron.critical"),
            Arrays.asList("quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"),
            Arrays.asList("quick.orange.rabbit", "lazy.orange.elephant", "lazy.pink.rabbit", "lazy.orange.new.rabbit", "lazy"),
            Arrays.asList("a.z", "a.b.c.z", "a..z"));
        List<Receiver> receivers = new ArrayList<>();
        for (String[] bindings : patterns) {
            receivers.add(new Receiver(inbox, exchange, bindings));
        }
        for (String key : keys) {
            Broker.send(emitter, exchange, key, key);
        }
        for (int n = 0; n < patterns.length; n++) {
            Broker.send(emitter, "", receivers.get(n).queue, Broker.END);
            Broker.equal(Arrays.toString(patterns[n]), receivers.get(n).reader.untilEnd(), wanted.get(n));
        }
    }
}
