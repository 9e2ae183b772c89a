import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Envelope;
import java.io.IOException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Tutorial six: calls over queues, with a reply queue of one's own and with direct reply-to. */
final class Rpc {
    private static final String QUEUE = "java.rpc_queue";
    private static final int CALLS = 20;

    private static long fibonacci(int n) {
        long a = 0;
        long b = 1;
        for (; n > 0; n--) {
            long sum = a + b;
            a = b;
            b = sum;
        }
        return a;
    }

    private static void serve(Broker broker) throws Exception {
        broker.owns(QUEUE);
        Channel channel = broker.channel("rpc server");
        channel.queueDeclare(QUEUE, false, false, false, null);
        channel.basicQos(1);
        channel.basicConsume(QUEUE, false, new DefaultConsumer(channel) {
            @Override
            public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties request, byte[] body) throws IOException {
                AMQP.BasicProperties reply = new AMQP.BasicProperties.Builder().correlationId(request.getCorrelationId()).build();
                Broker.send(getChannel(), request.getReplyTo(), Long.toString(fibonacci(Integer.parseInt(Broker.text(body)))), reply);
                getChannel().basicAck(envelope.getDeliveryTag(), false);
            }
        });
    }

    /** Makes its calls at once. */
    private static Reader call(Broker broker, String name, String replyTo) throws Exception {
        Channel channel = broker.channel(name);
        String address = replyTo == null ? channel.queueDeclare().getQueue() : replyTo;
        Reader replies = new Reader(channel, address, Reader.Acknowledge.BY_BROKER);
        for (int n = 0; n < CALLS; n++) {
            AMQP.BasicProperties call = new AMQP.BasicProperties.Builder().replyTo(address).correlationId(name + n).build();
            Broker.send(channel, QUEUE, Integer.toString(n), call);
        }
        return replies;
    }

    /** Asserts that each answer comes once, in the order asked. */
    private static void assertReplies(Reader replies, String name) throws Exception {
        replies.take(CALLS);
        for (int n = 0; n < CALLS; n++) {
            Delivery reply = replies.taken.get(n);
            Broker.equal("correlation id", reply.getProperties().getCorrelationId(), name + n);
            Broker.equal("reply", Broker.text(reply.getBody()), Long.toString(fibonacci(n)));
        }
        Broker.check("more replies than calls", replies.isIdle());
    }

    private static void calls(Broker broker, String replyTo) throws Exception {
        serve(broker);
        Reader one = call(broker, "one", replyTo);
        Reader two = call(broker, "two", replyTo);
        assertReplies(one, "one");
        assertReplies(two, "two");
    }

    public static void overAReplyQueue(Broker broker) throws Exception {
        calls(broker, null);
    }

    public static void overDirectReplyTo(Broker broker) throws Exception {
        calls(broker, "amq.rabbitmq.reply-to");
    }

    public static void directReplyToNeedsAConsumer(Broker broker) throws Exception {
        broker.owns(QUEUE);
        Channel channel = broker.channel("no consumer");
        channel.queueDeclare(QUEUE, false, false, false, null);
        CompletableFuture<AMQP.Channel.Close> closed = new CompletableFuture<>();
        channel.addShutdownListener(cause -> closed.complete((AMQP.Channel.Close) cause.getReason()));
        Broker.send(channel, QUEUE, "1", new AMQP.BasicProperties.Builder().replyTo("amq.rabbitmq.reply-to").build());
        AMQP.Channel.Close close = closed.get(Broker.WAIT_MS, TimeUnit.MILLISECONDS);
        Broker.equal("code", close.getReplyCode(), AMQP.PRECONDITION_FAILED);
        Broker.check(close.getReplyText(), close.getReplyText().contains("fast reply consumer does not exist"));
    }
}
