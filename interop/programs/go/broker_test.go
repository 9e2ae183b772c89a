// Package programs holds the tutorial and confirm programs as a user of amqp091-go writes them.
//
// This file is what every program needs: a connection, a bounded wait, and names that no other
// program uses. Programs end a stream of messages with end, published straight to the queue that
// is read. What a queue delivered is then everything up to end, so "no more than these" needs no
// waiting for silence.
package programs

import (
	"context"
	"os"
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	waitLimit = 20 * time.Second
	end       = "end of this queue"
)

// dial opens a connection that is closed when the program is over, whatever happened.
func dial(t *testing.T, name string) *amqp.Connection {
	t.Helper()
	config := amqp.Config{Properties: amqp.Table{"connection_name": "interop go " + name}}
	connection, err := amqp.DialConfig(os.Getenv("LEVERET_AMQP_URL"), config)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

func open(t *testing.T, connection *amqp.Connection) *amqp.Channel {
	t.Helper()
	channel, err := connection.Channel()
	check(t, err)
	return channel
}

// fresh removes what a program that failed left behind, and what this one leaves at its end.
func fresh(t *testing.T, queue, exchange string) {
	t.Helper()
	remove := func() {
		connection, err := amqp.Dial(os.Getenv("LEVERET_AMQP_URL"))
		check(t, err)
		defer connection.Close()
		channel := open(t, connection)
		if queue != "" {
			_, err = channel.QueueDelete(queue, false, false, false)
			check(t, err)
		}
		if exchange != "" {
			check(t, channel.ExchangeDelete(exchange, false, false))
		}
	}
	remove()
	t.Cleanup(remove)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, what string, found, wanted interface{}) {
	t.Helper()
	if !reflect.DeepEqual(found, wanted) {
		t.Fatalf("%s: found %#v, wanted %#v", what, found, wanted)
	}
}

func publish(t *testing.T, channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	check(t, channel.PublishWithContext(ctx, exchange, key, false, false, message))
}

func text(body string) amqp.Publishing {
	return amqp.Publishing{ContentType: "text/plain", Body: []byte(body)}
}

func subscribe(t *testing.T, channel *amqp.Channel, queue string, autoAck bool) <-chan amqp.Delivery {
	t.Helper()
	deliveries, err := channel.Consume(queue, "", autoAck, false, false, false, nil)
	check(t, err)
	return deliveries
}

// next waits for one delivery.
func next(t *testing.T, deliveries <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case delivery, open := <-deliveries:
		if !open {
			t.Fatal("the consumer has ended")
		}
		return delivery
	case <-time.After(waitLimit):
		t.Fatal("no delivery came in time")
	}
	panic("unreachable")
}

// take waits for count deliveries and acknowledges each, where acknowledge is asked for.
func take(t *testing.T, deliveries <-chan amqp.Delivery, count int, acknowledge bool) (taken []amqp.Delivery) {
	t.Helper()
	for len(taken) < count {
		delivery := next(t, deliveries)
		if acknowledge {
			check(t, delivery.Ack(false))
		}
		taken = append(taken, delivery)
	}
	return taken
}

// untilEnd takes what comes before end.
func untilEnd(t *testing.T, deliveries <-chan amqp.Delivery) (taken []amqp.Delivery) {
	t.Helper()
	for {
		delivery := next(t, deliveries)
		if string(delivery.Body) == end {
			return taken
		}
		taken = append(taken, delivery)
	}
}

func bodies(deliveries []amqp.Delivery) []string {
	found := []string{}
	for _, delivery := range deliveries {
		found = append(found, string(delivery.Body))
	}
	return found
}

func redelivered(deliveries []amqp.Delivery) []bool {
	found := []bool{}
	for _, delivery := range deliveries {
		found = append(found, delivery.Redelivered)
	}
	return found
}

func length(t *testing.T, channel *amqp.Channel, queue string) int {
	t.Helper()
	state, err := channel.QueueInspect(queue)
	check(t, err)
	return state.Messages
}

// awaitLength asks for the queue's length until it is the wanted one: no event tells of another's
// death.
func awaitLength(t *testing.T, channel *amqp.Channel, queue string, wanted int) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for found := length(t, channel, queue); found != wanted; found = length(t, channel, queue) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d messages, not %d", queue, found, wanted)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ownQueue declares a server-named exclusive queue.
func ownQueue(t *testing.T, channel *amqp.Channel) string {
	t.Helper()
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	check(t, err)
	return queue.Name
}
