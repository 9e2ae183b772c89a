package programs

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const rpcQueue = "go.rpc_queue"

func fibonacci(n int) int {
	a, b := 0, 1
	for ; n > 0; n-- {
		a, b = b, a+b
	}
	return a
}

// serve answers calls until its connection is closed. Its error, if any, comes over the channel.
func serve(t *testing.T) <-chan error {
	t.Helper()
	channel := open(t, dial(t, "rpc server"))
	_, err := channel.QueueDeclare(rpcQueue, false, false, false, false, nil)
	check(t, err)
	check(t, channel.Qos(1, 0, false))
	requests := subscribe(t, channel, rpcQueue, false)
	failed := make(chan error, 1)
	go func() {
		for request := range requests {
			n, err := strconv.Atoi(string(request.Body))
			if err == nil {
				err = channel.Publish("", request.ReplyTo, false, false, amqp.Publishing{
					CorrelationId: request.CorrelationId,
					Body:          []byte(strconv.Itoa(fibonacci(n))),
				})
			}
			if err == nil {
				err = request.Ack(false)
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	return failed
}

// call makes its calls at once, and asserts that each answer comes once, in the order asked.
func call(t *testing.T, name, replyTo string) <-chan error {
	t.Helper()
	channel := open(t, dial(t, name))
	if replyTo == "" {
		replyTo = ownQueue(t, channel)
	}
	replies := subscribe(t, channel, replyTo, true)
	for n := 0; n < 20; n++ {
		publish(t, channel, "", rpcQueue, amqp.Publishing{
			CorrelationId: fmt.Sprintf("%s-%d", name, n), ReplyTo: replyTo, Body: []byte(strconv.Itoa(n)),
		})
	}
	done := make(chan error, 1)
	go func() {
		for n := 0; n < 20; n++ {
			select {
			case reply := <-replies:
				found := reply.CorrelationId + "=" + string(reply.Body)
				if wanted := fmt.Sprintf("%s-%d=%d", name, n, fibonacci(n)); found != wanted {
					done <- fmt.Errorf("found %s, wanted %s", found, wanted)
					return
				}
			case <-time.After(waitLimit):
				done <- fmt.Errorf("%s: no reply to call %d", name, n)
				return
			}
		}
		done <- nil
	}()
	return done
}

// Tutorial six: calls over queues, with a reply queue of one's own and with direct reply-to.
func TestRpc(t *testing.T) {
	for name, replyTo := range map[string]string{"ReplyQueue": "", "DirectReplyTo": "amq.rabbitmq.reply-to"} {
		replyTo := replyTo
		t.Run(name, func(t *testing.T) {
			fresh(t, rpcQueue, "")
			failed := serve(t)
			for _, done := range []<-chan error{call(t, "one", replyTo), call(t, "two", replyTo)} {
				select {
				case err := <-failed:
					t.Fatalf("server: %v", err)
				case err := <-done:
					check(t, err)
				}
			}
		})
	}
}

func TestRpcDirectReplyToNeedsAConsumer(t *testing.T) {
	fresh(t, rpcQueue, "")
	channel := open(t, dial(t, "no consumer"))
	_, err := channel.QueueDeclare(rpcQueue, false, false, false, false, nil)
	check(t, err)
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	publish(t, channel, "", rpcQueue, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", Body: []byte("1")})
	select {
	case err := <-closed:
		equal(t, "code", err.Code, amqp.PreconditionFailed)
		if !strings.Contains(err.Reason, "fast reply consumer does not exist") {
			t.Fatal(err.Reason)
		}
	case <-time.After(waitLimit):
		t.Fatal("the channel was not closed")
	}
}
