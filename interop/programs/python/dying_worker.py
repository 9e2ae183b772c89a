"""A worker that takes one task, says so, and then does nothing until it is killed."""

import sys
import time

from broker import WAIT_S, connection

with connection("dying worker") as worker:
    channel = worker.channel()
    channel.basic_qos(prefetch_count=1)
    for _, _, body in channel.consume(sys.argv[1], inactivity_timeout=WAIT_S):
        sys.stdout.write(f"{(body or b'nothing').decode()}\n")
        sys.stdout.flush()
        time.sleep(WAIT_S * 3)
        break
