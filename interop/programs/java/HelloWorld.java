import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Tutorial one: one sender, one queue, one receiver. */
final class HelloWorld {
    public static void oneMessage(Broker broker) throws Exception {
        String queue = broker.owns("java.hello");
        Channel sender = broker.channel("sender");
        sender.queueDeclare(queue, false, false, false, null);
        Broker.send(sender, "", queue, "Hello World!");
        Broker.send(sender, "", queue, Broker.END);

        Channel receiver = broker.channel("receiver");
        Broker.equal("name", receiver.queueDeclare(queue, false, false, false, null).getQueue(), queue);
        Reader reader = new Reader(receiver, queue, Reader.Acknowledge.BY_BROKER);
        Broker.equal("bodies", reader.untilEnd(), Arrays.asList("Hello World!"));
        Envelope envelope = reader.taken.get(0).getEnvelope();
        Broker.equal("exchange", envelope.getExchange(), "");
        Broker.equal("routing key", envelope.getRoutingKey(), queue);
        Broker.equal("delivery tag", envelope.getDeliveryTag(), 1L);
        Broker.equal("redelivered", envelope.isRedeliver(), false);
        Broker.equal("length", receiver.messageCount(queue), 0L);
    }

    public static void manyMessagesKeepTheirOrder(Broker broker) throws Exception {
        Channel channel = broker.channel("order");
        String queue = channel.queueDeclare().getQueue();
        Broker.check("the server named the queue " + queue, queue.startsWith("amq.gen-"));
        List<String> sent = new ArrayList<>();
        for (int size : new int[] {0, 1, 4088, 131064, 131065, 400_000}) {
            sent.add("x".repeat(size));
        }
        sent.addAll(Broker.numbers(0, 1000));
        Reader reader = new Reader(channel, queue, Reader.Acknowledge.BY_BROKER);
        for (String body : sent) {
            Broker.send(channel, "", queue, body);
        }
        Broker.send(channel, "", queue, Broker.END);
        Broker.equal("bodies", reader.untilEnd(), sent);
    }

    public static void propertiesArriveAsSent(Broker broker) throws Exception {
        Channel channel = broker.channel("properties");
        String queue = channel.queueDeclare().getQueue();
        Map<String, Object> headers = new HashMap<>();
        headers.put("text", "täxt");
        headers.put("int", -70000);
        headers.put("long", 1L << 40);
        headers.put("byte", (byte) -7);
        headers.put("short", (short) -300);
        headers.put("float", 1.5f);
        headers.put("double", 2.25);
        headers.put("yes", true);
        headers.put("nothing", null);
        headers.put("decimal", new BigDecimal("3.14"));
        headers.put("date", new Date(1_700_000_000_000L));
        headers.put("list", Arrays.asList(1, "two", null));
        headers.put("table", Collections.singletonMap("inner", Collections.singletonMap("a", "b")));
        AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder().headers(headers).contentType("application/json")
            .contentEncoding("utf-8").deliveryMode(2).priority(3).correlationId("c-1").replyTo("somewhere").expiration("60000")
            .messageId("m-1").timestamp(new Date(1_700_000_000_000L)).type("greeting").userId("guest").appId("interop").build();
        Broker.send(channel, queue, "{}", sent);
        GetResponse response = channel.basicGet(queue, true);
        AMQP.BasicProperties found = response.getProps();
        Broker.equal("headers", plain(found.getHeaders()), headers);
        Broker.equal("properties", found.builder().headers(headers).build().toString(), sent.toString());
        Broker.equal("another message", channel.basicGet(queue, true), null);
    }

    /** Texts come back as LongString. */
    private static Object plain(Object value) {
        if (value instanceof LongString) {
            return value.toString();
        }
        if (value instanceof List) {
            List<Object> list = new ArrayList<>();
            for (Object element : (List<?>) value) {
                list.add(plain(element));
            }
            return list;
        }
        if (value instanceof Map) {
            Map<Object, Object> map = new HashMap<>();
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                map.put(entry.getKey(), plain(entry.getValue()));
            }
            return map;
        }
        return value;
    }
}
