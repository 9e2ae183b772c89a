import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * What every program needs: connections that end with it, and names that no other program uses.
 *
 * Programs end a stream of messages with END, published straight to the queue that is read. What a
 * queue delivered is then everything up to END, so "no more than these" needs no waiting for
 * silence.
 */
@SuppressWarnings("try") // close() may be interrupted, and then the program has failed.
final class Broker implements AutoCloseable {
    static final int WAIT_MS = 20_000;
    static final String END = "end of this queue";

    private final List<Connection> connections = new ArrayList<>();
    private final List<String> queues = new ArrayList<>();
    private final List<String> exchanges = new ArrayList<>();

    static Connection dial(String name) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(System.getenv("LEVERET_AMQP_URL"));
        if (factory.getVirtualHost().isEmpty()) {
            factory.setVirtualHost("/"); // This version reads the address's last slash as a vhost named "".
        }
        factory.setConnectionTimeout(WAIT_MS);
        factory.setAutomaticRecoveryEnabled(false);
        return factory.newConnection("interop java " + name);
    }

    Connection connect(String name) throws Exception {
        Connection connection = dial(name);
        connections.add(connection);
        return connection;
    }

    Channel channel(String name) throws Exception {
        return connect(name).createChannel();
    }

    /** Removes the queue that a program which failed left behind; this one's goes at its end. */
    String owns(String queue) throws Exception {
        queues.add(queue);
        remove();
        return queue;
    }

    String ownsExchange(String exchange) throws Exception {
        exchanges.add(exchange);
        remove();
        return exchange;
    }

    private void remove() throws Exception {
        try (Connection connection = dial("remove")) {
            Channel channel = connection.createChannel();
            for (String queue : queues) {
                channel.queueDelete(queue);
            }
            for (String exchange : exchanges) {
                channel.exchangeDelete(exchange);
            }
        }
    }

    @Override
    public void close() throws Exception {
        for (Connection connection : connections) {
            connection.abort(WAIT_MS);
        }
        if (!queues.isEmpty() || !exchanges.isEmpty()) {
            remove();
        }
    }

    static void send(Channel channel, String exchange, String key, String body) throws IOException {
        channel.basicPublish(exchange, key, null, body.getBytes(StandardCharsets.UTF_8));
    }

    static void send(Channel channel, String key, String body, AMQP.BasicProperties properties) throws IOException {
        channel.basicPublish("", key, properties, body.getBytes(StandardCharsets.UTF_8));
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }

    /** Asks for the queue's length until it is the wanted one: no event tells of another's death. */
    static void awaitLength(Channel channel, String queue, long wanted) throws Exception {
        long deadline = System.nanoTime() + WAIT_MS * 1_000_000L;
        for (long found = channel.messageCount(queue); found != wanted; found = channel.messageCount(queue)) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError(queue + " has " + found + " messages, not " + wanted);
            }
            Thread.sleep(10);
        }
    }

    static List<String> numbers(int from, int end) {
        List<String> numbers = new ArrayList<>();
        for (int n = from; n < end; n++) {
            numbers.add(Integer.toString(n));
        }
        return numbers;
    }

    static void equal(String what, Object found, Object wanted) {
        if (!Objects.deepEquals(found, wanted)) {
            throw new AssertionError(what + ": found " + show(found) + ", wanted " + show(wanted));
        }
    }

    static void check(String what, boolean holds) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static String show(Object value) {
        return value instanceof byte[] ? Arrays.toString((byte[]) value) : String.valueOf(value);
    }
}
