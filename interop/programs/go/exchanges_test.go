package programs

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// bound declares an exclusive queue, binds it with each key, and reads it.
func bound(t *testing.T, channel *amqp.Channel, exchange string, keys ...string) (string, <-chan amqp.Delivery) {
	t.Helper()
	queue := ownQueue(t, channel)
	for _, key := range keys {
		check(t, channel.QueueBind(queue, key, exchange, false, nil))
	}
	return queue, subscribe(t, channel, queue, true)
}

func declareExchange(t *testing.T, channel *amqp.Channel, exchange, kind string) {
	t.Helper()
	check(t, channel.ExchangeDeclare(exchange, kind, true, false, false, false, nil))
}

// Tutorial three: a fanout exchange gives every subscriber a copy.
func TestPublishSubscribe(t *testing.T) {
	const exchange = "go.logs"
	fresh(t, "", exchange)
	emitter := open(t, dial(t, "emitter"))
	declareExchange(t, emitter, exchange, "fanout")
	publish(t, emitter, exchange, "", text("nobody listens yet"))
	equal(t, "durable exchange is there", emitter.ExchangeDeclarePassive(exchange, "fanout", true, false, false, false, nil), nil)

	lines := []string{}
	for i := 0; i < 20; i++ {
		lines = append(lines, fmt.Sprintf("line %d", i))
	}
	_, early := bound(t, open(t, dial(t, "early")), exchange, "")
	for _, line := range lines[:10] {
		publish(t, emitter, exchange, "the key plays no part", text(line))
	}
	check(t, emitter.ExchangeDeclarePassive(exchange, "fanout", true, false, false, false, nil))
	_, late := bound(t, open(t, dial(t, "late")), exchange, "")
	for _, line := range append(lines[10:], end) {
		publish(t, emitter, exchange, "", text(line))
	}
	taken := untilEnd(t, early)
	equal(t, "early", bodies(taken), lines)
	equal(t, "exchange", taken[0].Exchange, exchange)
	equal(t, "late", bodies(untilEnd(t, late)), lines[10:])
}

// Tutorial four: a direct exchange, and queues that ask for the keys they want.
func TestRouting(t *testing.T) {
	const exchange = "go.direct_logs"
	fresh(t, "", exchange)
	inbox := open(t, dial(t, "receivers"))
	emitter := open(t, dial(t, "emitter"))
	declareExchange(t, inbox, exchange, "direct")
	diskQueue, disk := bound(t, inbox, exchange, "error")
	screenQueue, screen := bound(t, inbox, exchange, "info", "warning", "error", "error")
	for i, key := range []string{"info", "error", "debug", "warning", "error", "errors", ""} {
		publish(t, emitter, exchange, key, text(fmt.Sprint(i+1)))
	}
	publish(t, emitter, "", diskQueue, text(end))
	publish(t, emitter, "", screenQueue, text(end))
	equal(t, "disk", bodies(untilEnd(t, disk)), []string{"2", "5"})
	taken := untilEnd(t, screen)
	equal(t, "screen", bodies(taken), []string{"1", "2", "4", "5"})
	equal(t, "key", taken[2].RoutingKey, "warning")

	check(t, inbox.QueueUnbind(screenQueue, "info", exchange, nil))
	publish(t, inbox, exchange, "info", text("unbound"))
	publish(t, inbox, exchange, "warning", text("still bound"))
	publish(t, inbox, "", screenQueue, text(end))
	equal(t, "after unbind", bodies(untilEnd(t, screen)), []string{"still bound"})
}

// Tutorial five: a topic exchange matches words, `*` one and `#` any number of them.
func TestTopics(t *testing.T) {
	const exchange = "go.topic_logs"
	fresh(t, "", exchange)
	inbox := open(t, dial(t, "receivers"))
	emitter := open(t, dial(t, "emitter"))
	declareExchange(t, inbox, exchange, "topic")

	receivers := []struct{ patterns, wanted []string }{
		{[]string{"#"}, []string{"kern.info", "kern.critical", "cron.critical", "kern", "kern.a.critical",
			"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox", "lazy.pink.rabbit", "quick.brown.fox",
			"quick.orange.new.rabbit", "lazy.orange.new.rabbit", "lazy", "", "a.z", "a.b.c.z", "a..z", "a.z.b"}},
		{[]string{"kern.*"}, []string{"kern.info", "kern.critical"}},
		{[]string{"*.critical"}, []string{"kern.critical", "cron.critical"}},
		{[]string{"kern.*", "*.critical"}, []string{"kern.info", "kern.critical", "cron.critical"}},
		{[]string{"*.orange.*"}, []string{"quick.orange.rabbit", "lazy.orange.elephant", "quick.orange.fox"}},
		{[]string{"*.*.rabbit", "lazy.#"}, []string{"quick.orange.rabbit", "lazy.orange.elephant", "lazy.pink.rabbit",
			"lazy.orange.new.rabbit", "lazy"}},
		{[]string{"a.#.z"}, []string{"a.z", "a.b.c.z", "a..z"}},
	}
	queues := []string{}
	reads := []<-chan amqp.Delivery{}
	for _, receiver := range receivers {
		queue, read := bound(t, inbox, exchange, receiver.patterns...)
		queues, reads = append(queues, queue), append(reads, read)
	}
	for _, key := range receivers[0].wanted {
		publish(t, emitter, exchange, key, text(key))
	}
	for i, receiver := range receivers {
		publish(t, emitter, "", queues[i], text(end))
		equal(t, fmt.Sprint(receiver.patterns), bodies(untilEnd(t, reads[i])), receiver.wanted)
	}
}
