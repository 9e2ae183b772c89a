"""Runs every program, each on its own, and counts.

A program is a function whose name begins with `program_` in one of the modules below. It takes
nothing, cleans up what it declared, and raises where the broker did something else than it should.
A program that hangs is ended by its deadline, which fails the whole run with a trace of where it
stood.
"""

import faulthandler
import sys
import traceback

import broker
import confirms
import hello_world
import publish_subscribe
import routing
import rpc
import topics
import work_queue

MODULES = [hello_world, work_queue, publish_subscribe, routing, topics, rpc, confirms]
PROGRAM_DEADLINE_S = 60


def programs():
    for module in MODULES:
        for name, function in list(vars(module).items()):
            if name.startswith("program_"):
                yield module, name.removeprefix("program_"), function


def clean(module):
    """Removes what a program that failed left behind, so that the next one is not misled."""
    with broker.connection("clean") as connection:
        channel = connection.channel()
        if queue := getattr(module, "QUEUE", None):
            channel.queue_delete(queue)
        if exchange := getattr(module, "EXCHANGE", None):
            channel.exchange_delete(exchange)


def main(wanted):
    passed = failed = 0
    for module, program_name, program in programs():
        name = f"{module.__name__}.{program_name}"
        if wanted and not any(word in name for word in wanted):
            continue
        faulthandler.dump_traceback_later(PROGRAM_DEADLINE_S, exit=True)
        try:
            clean(module)
            program()
        except Exception:
            failed += 1
            print(f"FAILED {name}")
            traceback.print_exc(file=sys.stdout)
        else:
            passed += 1
            print(f"ok     {name}")
        sys.stdout.flush()
    faulthandler.cancel_dump_traceback_later()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
