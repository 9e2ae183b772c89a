import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Envelope;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** A consumer that keeps what it was given, in order. */
final class Reader extends DefaultConsumer {
    enum Acknowledge { BY_BROKER, EACH, BY_HAND }

    final List<Delivery> taken = new ArrayList<>();
    final String tag;
    private final BlockingQueue<Delivery> deliveries = new LinkedBlockingQueue<>();
    private final Acknowledge acknowledge;

    Reader(Channel channel, String queue, Acknowledge acknowledge) throws IOException {
        super(channel);
        this.acknowledge = acknowledge;
        this.tag = channel.basicConsume(queue, acknowledge == Acknowledge.BY_BROKER, this);
    }

    @Override
    public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) throws IOException {
        if (acknowledge == Acknowledge.EACH) {
            getChannel().basicAck(envelope.getDeliveryTag(), false);
        }
        deliveries.add(new Delivery(envelope, properties, body));
    }

    /** Waits until `count` messages in all have come, and gives their bodies. */
    List<String> take(int count) throws InterruptedException {
        while (taken.size() < count) {
            next();
        }
        return bodies();
    }

    /** Waits until END has come, and gives the bodies before it that were not given yet. */
    List<String> untilEnd() throws InterruptedException {
        int from = taken.size();
        while (!next().equals(Broker.END)) {
        }
        List<String> bodies = bodies();
        return bodies.subList(from, bodies.size() - 1);
    }

    boolean isIdle() {
        return deliveries.isEmpty();
    }

    List<Boolean> redelivered() {
        return taken.stream().map(delivery -> delivery.getEnvelope().isRedeliver()).collect(Collectors.toList());
    }

    private List<String> bodies() {
        return taken.stream().map(delivery -> Broker.text(delivery.getBody())).collect(Collectors.toList());
    }

    private String next() throws InterruptedException {
        Delivery delivery = deliveries.poll(Broker.WAIT_MS, TimeUnit.MILLISECONDS);
        if (delivery == null) {
            throw new AssertionError("no delivery came in time, after " + bodies());
        }
        taken.add(delivery);
        return Broker.text(delivery.getBody());
    }
}
