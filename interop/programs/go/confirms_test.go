package programs

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// PublishWithDeferredConfirm is left out: in the version that Debian carries it misses a confirm that
// comes before it has returned.
const confirmQueue = "go.confirms"

func nextConfirm(t *testing.T, confirms <-chan amqp.Confirmation) amqp.Confirmation {
	t.Helper()
	select {
	case confirm, open := <-confirms:
		if !open {
			t.Fatal("the channel has ended")
		}
		return confirm
	case <-time.After(waitLimit):
		t.Fatal("no confirm came in time")
	}
	panic("unreachable")
}

// confirmer is a channel in confirm mode, with an empty durable queue to publish to.
func confirmer(t *testing.T, args amqp.Table) *amqp.Channel {
	t.Helper()
	fresh(t, confirmQueue, "")
	channel := open(t, dial(t, "publisher"))
	_, err := channel.QueueDeclare(confirmQueue, true, false, false, false, args)
	check(t, err)
	check(t, channel.Confirm(false))
	return channel
}

func numbered(n uint64) amqp.Publishing {
	return amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(fmt.Sprint(n))}
}

// stored asserts that the queue holds exactly the numbers 1 to count, in order.
func stored(t *testing.T, channel *amqp.Channel, count uint64) {
	t.Helper()
	equal(t, "length", length(t, channel, confirmQueue), int(count))
	for n := uint64(1); n <= count; n++ {
		delivery, there, err := channel.Get(confirmQueue, true)
		check(t, err)
		equal(t, "stored", []interface{}{there, string(delivery.Body)}, []interface{}{true, fmt.Sprint(n)})
	}
}

func TestConfirmsOneByOne(t *testing.T) {
	channel := confirmer(t, nil)
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	for n := uint64(1); n <= 100; n++ {
		publish(t, channel, "", confirmQueue, numbered(n))
		equal(t, "confirm", nextConfirm(t, confirms), amqp.Confirmation{DeliveryTag: n, Ack: true})
		equal(t, "length", length(t, channel, confirmQueue), int(n))
	}
	stored(t, channel, 100)
}

func TestConfirmsInBatches(t *testing.T) {
	channel := confirmer(t, nil)
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 100))
	for batch := uint64(0); batch < 10; batch++ {
		for n := uint64(1); n <= 100; n++ {
			publish(t, channel, "", confirmQueue, numbered(batch*100+n))
		}
		for n := uint64(1); n <= 100; n++ {
			equal(t, "confirm", nextConfirm(t, confirms), amqp.Confirmation{DeliveryTag: batch*100 + n, Ack: true})
		}
		equal(t, "length", length(t, channel, confirmQueue), int(batch+1)*100)
	}
	stored(t, channel, 1000)
}

func TestConfirmsAsynchronous(t *testing.T) {
	const count = 5000
	channel := confirmer(t, nil)
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 64))
	window := make(chan struct{}, 500)
	failed := make(chan error, 1)
	go func() {
		defer close(failed)
		for n := uint64(1); n <= count; n++ {
			select {
			case confirm := <-confirms:
				if confirm != (amqp.Confirmation{DeliveryTag: n, Ack: true}) {
					failed <- fmt.Errorf("confirm %d: %+v", n, confirm)
					return
				}
				<-window
			case <-time.After(waitLimit):
				failed <- fmt.Errorf("no confirm for %d", n)
				return
			}
		}
	}()
	for n := uint64(1); n <= count; n++ {
		select {
		case window <- struct{}{}:
			publish(t, channel, "", confirmQueue, numbered(n))
		case err := <-failed:
			t.Fatal(err)
		}
	}
	check(t, <-failed)
	stored(t, channel, count)
}

// x-overflow=reject-publish is the nack that a publisher can be sure of.
func TestConfirmsAFullQueueRefuses(t *testing.T) {
	channel := confirmer(t, amqp.Table{"x-max-length": 3, "x-overflow": "reject-publish"})
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	outcomes := []bool{}
	for n := uint64(1); n <= 6; n++ {
		publish(t, channel, "", confirmQueue, numbered(n))
		outcomes = append(outcomes, nextConfirm(t, confirms).Ack)
	}
	equal(t, "outcomes", outcomes, []bool{true, true, true, false, false, false})
	stored(t, channel, 3)
}

func TestConfirmsUnroutableIsReturnedFirst(t *testing.T) {
	channel := confirmer(t, nil)
	// Unbuffered: the client hands over the return before it reads the confirm that follows.
	returns := channel.NotifyReturn(make(chan amqp.Return))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation))
	check(t, channel.Publish("", "go.nowhere", true, false, text("returned")))
	select {
	case returned := <-returns:
		equal(t, "code", returned.ReplyCode, uint16(amqp.NoRoute))
		equal(t, "text", returned.ReplyText, "NO_ROUTE")
		equal(t, "key", returned.RoutingKey, "go.nowhere")
		equal(t, "body", string(returned.Body), "returned")
	case confirm := <-confirms:
		t.Fatalf("confirmed before it was returned: %+v", confirm)
	case <-time.After(waitLimit):
		t.Fatal("nothing was returned")
	}
	equal(t, "confirm", nextConfirm(t, confirms), amqp.Confirmation{DeliveryTag: 1, Ack: true})
}
