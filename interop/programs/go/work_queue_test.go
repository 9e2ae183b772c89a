package programs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const taskQueue = "go.task_queue"

// tasks declares the queue and fills it, and comes back when the broker has taken all of it.
func tasks(t *testing.T, channel *amqp.Channel, count int) []string {
	t.Helper()
	_, err := channel.QueueDeclare(taskQueue, true, false, false, false, nil)
	check(t, err)
	check(t, channel.Confirm(false))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, count))
	sent := []string{}
	for i := 0; i < count; i++ {
		body := fmt.Sprintf("task %d", i)
		publish(t, channel, "", taskQueue, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)})
		sent = append(sent, body)
	}
	for range sent {
		equal(t, "ack", nextConfirm(t, confirms).Ack, true)
	}
	equal(t, "length", length(t, channel, taskQueue), count)
	return sent
}

func worker(t *testing.T, connection *amqp.Connection) (*amqp.Channel, <-chan amqp.Delivery) {
	t.Helper()
	channel := open(t, connection)
	_, err := channel.QueueDeclare(taskQueue, true, false, false, false, nil)
	check(t, err)
	check(t, channel.Qos(1, 0, false))
	return channel, subscribe(t, channel, taskQueue, false)
}

// Tutorial two: a worker that is busy gets nothing more; the one that is free gets all the rest.
func TestWorkQueueFairDispatch(t *testing.T) {
	fresh(t, taskQueue, "")
	boss := open(t, dial(t, "boss"))
	sent := tasks(t, boss, 20)
	_, slow := worker(t, dial(t, "slow"))
	held := next(t, slow)
	equal(t, "held", string(held.Body), sent[0])
	equal(t, "delivery mode", held.DeliveryMode, uint8(amqp.Persistent))
	_, quick := worker(t, dial(t, "quick"))
	rest := take(t, quick, 19, true)
	equal(t, "the rest", bodies(rest), sent[1:])
	equal(t, "redelivered", redelivered(rest), make([]bool, 19))
	select {
	case more := <-slow:
		t.Fatalf("a busy worker was given %q", more.Body)
	default:
	}
	check(t, held.Ack(false))
	awaitLength(t, boss, taskQueue, 0)
}

// Without any difference in speed, tasks go to the workers in turn.
func TestWorkQueueRoundRobin(t *testing.T) {
	fresh(t, taskQueue, "")
	boss := open(t, dial(t, "boss"))
	_, err := boss.QueueDeclare(taskQueue, true, false, false, false, nil)
	check(t, err)
	workers := open(t, dial(t, "workers"))
	turns := []<-chan amqp.Delivery{}
	for i := 0; i < 3; i++ {
		turns = append(turns, subscribe(t, workers, taskQueue, true))
	}
	for i := 0; i < 30; i++ {
		publish(t, boss, "", taskQueue, text(fmt.Sprint(i)))
	}
	for i, turn := range turns {
		wanted := []string{}
		for n := i; n < 30; n += 3 {
			wanted = append(wanted, fmt.Sprint(n))
		}
		equal(t, "turn", bodies(take(t, turn, 10, false)), wanted)
	}
}

// TestMain is also the worker that takes one task, says so, and does nothing until it is killed.
func TestMain(m *testing.M) {
	if queue := os.Getenv("DYING_WORKER"); queue != "" {
		connection, err := amqp.Dial(os.Getenv("LEVERET_AMQP_URL"))
		if err != nil {
			panic(err)
		}
		channel, err := connection.Channel()
		if err != nil {
			panic(err)
		}
		if err = channel.Qos(1, 0, false); err != nil {
			panic(err)
		}
		deliveries, err := channel.Consume(queue, "", false, false, false, false, nil)
		if err != nil {
			panic(err)
		}
		fmt.Println(string((<-deliveries).Body))
		time.Sleep(3 * waitLimit)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestWorkQueueRedeliveryWhenAWorkerDies(t *testing.T) {
	fresh(t, taskQueue, "")
	boss := open(t, dial(t, "boss"))
	sent := tasks(t, boss, 5)
	dying := exec.Command(os.Args[0])
	dying.Env = append(os.Environ(), "DYING_WORKER="+taskQueue)
	output, err := dying.StdoutPipe()
	check(t, err)
	check(t, dying.Start())
	time.AfterFunc(waitLimit, func() { dying.Process.Kill() })
	line, _, err := bufio.NewReader(output).ReadLine()
	equal(t, "taken by the dying worker", string(line), sent[0])
	check(t, err)
	equal(t, "length", length(t, boss, taskQueue), 4)
	check(t, dying.Process.Kill())
	dying.Wait()
	awaitLength(t, boss, taskQueue, 5)

	_, heir := worker(t, dial(t, "heir"))
	taken := take(t, heir, 5, true)
	equal(t, "bodies", bodies(taken), sent)
	equal(t, "redelivered", redelivered(taken), []bool{true, false, false, false, false})
}

// What a channel held goes back to its place, ahead of what it had not yet been given.
func TestWorkQueueRedeliveryWhenAChannelCloses(t *testing.T) {
	fresh(t, taskQueue, "")
	boss := open(t, dial(t, "boss"))
	sent := tasks(t, boss, 6)
	connection := dial(t, "worker")
	channel := open(t, connection)
	check(t, channel.Qos(4, 0, false))
	deliveries := subscribe(t, channel, taskQueue, false)
	taken := take(t, deliveries, 4, false)
	check(t, taken[1].Ack(false))
	equal(t, "after the ack", string(next(t, deliveries).Body), sent[4])
	check(t, channel.Close())
	awaitLength(t, boss, taskQueue, 5)

	taken = take(t, subscribe(t, open(t, connection), taskQueue, true), 5, false)
	equal(t, "bodies", bodies(taken), append([]string{sent[0]}, sent[2:]...))
	equal(t, "redelivered", redelivered(taken), []bool{true, true, true, true, false})
}

func TestWorkQueueNackPutsBackOrDrops(t *testing.T) {
	fresh(t, taskQueue, "")
	channel := open(t, dial(t, "worker"))
	sent := tasks(t, channel, 3)
	taken := []amqp.Delivery{}
	for range sent {
		delivery, there, err := channel.Get(taskQueue, false)
		check(t, err)
		equal(t, "there", there, true)
		taken = append(taken, delivery)
	}
	equal(t, "bodies", bodies(taken), sent)
	check(t, taken[1].Nack(true, true))
	check(t, taken[2].Reject(false))
	for _, wanted := range sent[:2] {
		delivery, there, err := channel.Get(taskQueue, true)
		check(t, err)
		equal(t, "again", []interface{}{there, delivery.Redelivered, string(delivery.Body)}, []interface{}{true, true, wanted})
	}
	_, there, err := channel.Get(taskQueue, true)
	check(t, err)
	equal(t, "dropped", there, false)
}

func TestWorkQueueARedeclareMustAgree(t *testing.T) {
	fresh(t, taskQueue, "")
	connection := dial(t, "declare")
	channel := open(t, connection)
	_, err := channel.QueueDeclare(taskQueue, true, false, false, false, nil)
	check(t, err)
	_, err = open(t, connection).QueueDeclare(taskQueue, false, false, false, false, nil)
	refused, is := err.(*amqp.Error)
	if !is {
		t.Fatalf("the declare brought %v", err)
	}
	equal(t, "code", refused.Code, amqp.PreconditionFailed)
	equal(t, "text begins", refused.Reason[:len("PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'go.task_queue' in vhost '")],
		"PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'go.task_queue' in vhost '")
}
