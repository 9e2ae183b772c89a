package programs

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Tutorial one: one sender, one queue, one receiver.
func TestHelloWorld(t *testing.T) {
	const queue = "go.hello"
	fresh(t, queue, "")
	sender := open(t, dial(t, "sender"))
	_, err := sender.QueueDeclare(queue, false, false, false, false, nil)
	check(t, err)
	publish(t, sender, "", queue, text("Hello World!"))
	publish(t, sender, "", queue, text(end))

	receiver := open(t, dial(t, "receiver"))
	declared, err := receiver.QueueDeclare(queue, false, false, false, false, nil)
	check(t, err)
	equal(t, "name", declared.Name, queue)
	taken := untilEnd(t, subscribe(t, receiver, queue, true))
	equal(t, "bodies", bodies(taken), []string{"Hello World!"})
	equal(t, "exchange", taken[0].Exchange, "")
	equal(t, "routing key", taken[0].RoutingKey, queue)
	equal(t, "delivery tag", taken[0].DeliveryTag, uint64(1))
	equal(t, "redelivered", taken[0].Redelivered, false)
	equal(t, "length", length(t, receiver, queue), 0)
}

func TestHelloWorldManyMessagesKeepTheirOrder(t *testing.T) {
	channel := open(t, dial(t, "order"))
	queue := ownQueue(t, channel)
	if !strings.HasPrefix(queue, "amq.gen-") {
		t.Fatalf("the server named the queue %q", queue)
	}
	sent := []string{}
	for _, size := range []int{0, 1, 4088, 131064, 131065, 400000} {
		sent = append(sent, strings.Repeat("x", size))
	}
	for i := 0; i < 1000; i++ {
		sent = append(sent, time.Duration(i).String())
	}
	deliveries := subscribe(t, channel, queue, true)
	for _, body := range append(sent, end) {
		publish(t, channel, "", queue, text(body))
	}
	equal(t, "bodies", bodies(untilEnd(t, deliveries)), sent)
}

func TestHelloWorldPropertiesArriveAsSent(t *testing.T) {
	channel := open(t, dial(t, "properties"))
	queue := ownQueue(t, channel)
	sent := amqp.Publishing{
		Headers: amqp.Table{
			"bool": true, "byte": byte(200), "int8": int8(-7), "int16": int16(-300), "int32": int32(-70000),
			"int64": int64(1) << 40, "float32": float32(1.5), "float64": 2.25, "text": "täxt", "bytes": []byte{0, 255},
			"decimal": amqp.Decimal{Scale: 2, Value: 314}, "time": time.Unix(1700000000, 0), "nothing": nil,
			"list": []interface{}{int32(1), "two", nil}, "table": amqp.Table{"inner": amqp.Table{"a": "b"}},
		},
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Priority: 3,
		CorrelationId: "c-1", ReplyTo: "somewhere", Expiration: "60000", MessageId: "m-1",
		Timestamp: time.Unix(1700000000, 0), Type: "greeting", UserId: "guest", AppId: "interop", Body: []byte("{}"),
	}
	publish(t, channel, "", queue, sent)
	found, there, err := channel.Get(queue, true)
	check(t, err)
	if !there {
		t.Fatal("the queue is empty")
	}
	equal(t, "properties", amqp.Publishing{
		Headers: found.Headers, ContentType: found.ContentType, ContentEncoding: found.ContentEncoding,
		DeliveryMode: found.DeliveryMode, Priority: found.Priority, CorrelationId: found.CorrelationId,
		ReplyTo: found.ReplyTo, Expiration: found.Expiration, MessageId: found.MessageId, Timestamp: found.Timestamp,
		Type: found.Type, UserId: found.UserId, AppId: found.AppId, Body: found.Body,
	}, sent)
	_, there, err = channel.Get(queue, true)
	check(t, err)
	equal(t, "another message", there, false)
}
