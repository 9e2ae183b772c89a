import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Tutorial two: durable tasks, shared among workers that acknowledge what they have done. */
final class WorkQueue {
    private static final String QUEUE = "java.task_queue";

    /** Declares the queue and fills it, and comes back when the broker has taken all of it. */
    private static Channel tasks(Broker broker, int count) throws Exception {
        broker.owns(QUEUE);
        Channel channel = broker.channel("boss");
        channel.queueDeclare(QUEUE, true, false, false, null);
        channel.confirmSelect();
        for (String body : Broker.numbers(0, count)) {
            Broker.send(channel, QUEUE, body, MessageProperties.PERSISTENT_TEXT_PLAIN);
        }
        channel.waitForConfirmsOrDie(Broker.WAIT_MS);
        Broker.equal("length", channel.messageCount(QUEUE), (long) count);
        return channel;
    }

    private static Reader worker(Channel channel, Reader.Acknowledge acknowledge) throws IOException {
        channel.queueDeclare(QUEUE, true, false, false, null);
        channel.basicQos(1);
        return new Reader(channel, QUEUE, acknowledge);
    }

    public static void fairDispatch(Broker broker) throws Exception {
        Channel boss = tasks(broker, 20);
        Reader slow = worker(broker.channel("slow"), Reader.Acknowledge.BY_HAND);
        Broker.equal("slow", slow.take(1), Arrays.asList("0"));
        Broker.equal("delivery mode", slow.taken.get(0).getProperties().getDeliveryMode(), 2);
        Reader quick = worker(broker.channel("quick"), Reader.Acknowledge.EACH);
        Broker.equal("quick", quick.take(19), Broker.numbers(1, 20));
        Broker.check("a busy worker was given more", slow.isIdle());
        slow.getChannel().basicAck(slow.taken.get(0).getEnvelope().getDeliveryTag(), false);
        slow.getChannel().basicCancel(slow.tag);
        Broker.send(boss, "", QUEUE, Broker.END);
        Broker.equal("quick, after the rest", quick.untilEnd(), Collections.emptyList());
        Broker.equal("redelivered", quick.redelivered(), Collections.nCopies(20, false));
    }

    public static void roundRobin(Broker broker) throws Exception {
        broker.owns(QUEUE);
        Channel channel = broker.channel("workers");
        channel.queueDeclare(QUEUE, true, false, false, null);
        List<Reader> readers = new ArrayList<>();
        for (int turn = 0; turn < 3; turn++) {
            readers.add(new Reader(channel, QUEUE, Reader.Acknowledge.BY_BROKER));
        }
        for (String body : Broker.numbers(0, 30)) {
            Broker.send(channel, "", QUEUE, body);
        }
        for (int turn = 0; turn < 3; turn++) {
            List<String> wanted = new ArrayList<>();
            for (int n = turn; n < 30; n += 3) {
                wanted.add(Integer.toString(n));
            }
            Broker.equal("turn " + turn, readers.get(turn).take(10), wanted);
        }
    }

    /** The worker that takes one task, says so, and does nothing until it is killed. */
    public static final class DyingWorker {
        public static void main(String[] arguments) throws Exception {
            Reader reader = worker(Broker.dial("dying").createChannel(), Reader.Acknowledge.BY_HAND);
            System.out.println(reader.take(1).get(0));
            Thread.sleep(3L * Broker.WAIT_MS);
            System.exit(1);
        }
    }

    public static void redeliveryWhenAWorkerDies(Broker broker) throws Exception {
        Channel boss = tasks(broker, 5);
        Process dying = new ProcessBuilder(System.getProperty("java.home") + "/bin/java", "-cp",
            System.getProperty("java.class.path"), "WorkQueue$DyingWorker").redirectErrorStream(true).start();
        try (BufferedReader output = new BufferedReader(new InputStreamReader(dying.getInputStream()))) {
            Broker.equal("taken by the dying worker", output.readLine(), "0");
            Broker.equal("length", boss.messageCount(QUEUE), 4L);
        } finally {
            dying.destroyForcibly().waitFor(Broker.WAIT_MS, TimeUnit.MILLISECONDS);
        }
        Broker.awaitLength(boss, QUEUE, 5);
        Reader heir = worker(broker.channel("heir"), Reader.Acknowledge.EACH);
        Broker.equal("bodies", heir.take(5), Broker.numbers(0, 5));
        Broker.equal("redelivered", heir.redelivered(), Arrays.asList(true, false, false, false, false));
    }

    public static void redeliveryWhenAChannelCloses(Broker broker) throws Exception {
        Channel boss = tasks(broker, 6);
        Channel channel = broker.channel("worker");
        channel.basicQos(4);
        Reader held = new Reader(channel, QUEUE, Reader.Acknowledge.BY_HAND);
        held.take(4);
        channel.basicAck(held.taken.get(1).getEnvelope().getDeliveryTag(), false);
        Broker.equal("held", held.take(5), Broker.numbers(0, 5));
        channel.close();
        Broker.awaitLength(boss, QUEUE, 5);
        Reader reader = new Reader(boss, QUEUE, Reader.Acknowledge.BY_BROKER);
        Broker.equal("bodies", reader.take(5), Arrays.asList("0", "2", "3", "4", "5"));
        Broker.equal("redelivered", reader.redelivered(), Arrays.asList(true, true, true, true, false));
    }

    public static void nackPutsBackOrDrops(Broker broker) throws Exception {
        Channel channel = tasks(broker, 3);
        List<Long> tags = new ArrayList<>();
        for (int n = 0; n < 3; n++) {
            tags.add(channel.basicGet(QUEUE, false).getEnvelope().getDeliveryTag());
        }
        channel.basicNack(tags.get(1), true, true);
        channel.basicReject(tags.get(2), false);
        for (String body : Broker.numbers(0, 2)) {
            GetResponse again = channel.basicGet(QUEUE, true);
            Broker.equal("body", Broker.text(again.getBody()), body);
            Broker.equal("redelivered", again.getEnvelope().isRedeliver(), true);
        }
        Broker.equal("the dropped one", channel.basicGet(QUEUE, true), null);
    }

    public static void aRedeclareMustAgree(Broker broker) throws Exception {
        broker.owns(QUEUE);
        Connection connection = broker.connect("declare");
        Channel channel = connection.createChannel();
        channel.queueDeclare(QUEUE, true, false, false, null);
        channel.queueDeclare(QUEUE, true, false, false, null);
        try {
            connection.createChannel().queueDeclare(QUEUE, false, false, false, null);
        } catch (IOException refused) {
            AMQP.Channel.Close close = (AMQP.Channel.Close) ((ShutdownSignalException) refused.getCause()).getReason();
            Broker.equal("code", close.getReplyCode(), AMQP.PRECONDITION_FAILED);
            Broker.check(close.getReplyText(), close.getReplyText().startsWith(
                "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'java.task_queue' in vhost '"));
            return;
        }
        throw new AssertionError("the declare was allowed");
    }
}
