//! The scenarios: what `leveret perf` is told for each, and what of its report is shown.

/// One scenario.
pub(super) struct Scenario {
    /// To choose it by.
    pub(super) name: &'static str,
    /// In the table.
    pub(super) title: &'static str,
    /// Words for `leveret perf`.
    pub(super) words: &'static [&'static str],
    /// More of them in a whole run, and in a quick one.
    pub(super) whole: &'static [&'static str],
    pub(super) quick: &'static [&'static str],
    /// Whether a peer takes part, or the scenario compares Leveret with itself.
    pub(super) with_peer: bool,
}

const fn scenario(
    name: &'static str,
    title: &'static str,
    words: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        title,
        words,
        whole: &["-z", "10"],
        quick: &["-z", "3", "--warm-up", "1"],
        with_peer: true,
    }
}

const NO_WARM_UP: &[&str] = &["-z", "3"];

/// All of them, in the order of the table.
pub(super) static SCENARIOS: [Scenario; 22] = [
    scenario(
        "transient-16",
        "16 B, transient, auto-ack, 1 publisher, 1 consumer",
        &["throughput", "-s", "16"],
    ),
    scenario(
        "transient-1k",
        "the same, 1 KiB",
        &["throughput", "-s", "1024"],
    ),
    scenario(
        "persistent",
        "1 KiB, persistent, durable, 1,000 confirms open, ack every 100",
        &[
            "throughput",
            "-s",
            "1024",
            "-P",
            "-d",
            "-c",
            "1000",
            "-a",
            "100",
        ],
    ),
    scenario(
        "persistent-ack-1",
        "the same, ack every 1, prefetch 100",
        &[
            "throughput",
            "-s",
            "1024",
            "-P",
            "-d",
            "-c",
            "1000",
            "-a",
            "1",
            "-q",
            "100",
        ],
    ),
    scenario(
        "fan-out",
        "16 B to 10 queues, deliveries",
        &["fan-out", "-s", "16"],
    ),
    scenario(
        "four",
        "16 B, 4 publishers, 4 queues, 4 consumers",
        &["throughput", "-s", "16", "-x", "4", "-y", "4", "-u", "4"],
    ),
    Scenario {
        whole: &["-C", "2000000"],
        quick: &["-C", "200000"],
        ..scenario(
            "backlog",
            "2 million of 16 B (quick: 200,000), then consumed",
            &["backlog", "-s", "16"],
        )
    },
    scenario(
        "latency",
        "20,000/s of 64 B, ack every 1",
        &["latency", "-s", "64", "--rate", "20000"],
    ),
    scenario("rpc", "round trips through amq.rabbitmq.reply-to", &["rpc"]),
    Scenario {
        quick: NO_WARM_UP,
        ..scenario(
            "connections",
            "connection, channel, close, one after another",
            &["connections"],
        )
    },
    Scenario {
        quick: NO_WARM_UP,
        ..scenario(
            "channels",
            "channel, close, one after another",
            &["channels"],
        )
    },
    Scenario {
        whole: &["-u", "10000"],
        quick: &["-u", "500"],
        ..scenario(
            "queues",
            "durable queues, one after another, traffic beside them",
            &["queues", "-d", "--with-traffic"],
        )
    },
    Scenario {
        whole: &["-u", "10000"],
        quick: &["-u", "500"],
        ..scenario(
            "queues-pipelined",
            "durable queues, 100 requests open",
            &["queues", "-d", "--pipeline", "100"],
        )
    },
    Scenario {
        whole: &["-x", "1000", "-z", "10"],
        quick: &["-x", "200", "-z", "2"],
        ..scenario(
            "idle",
            "1,000 idle connections (quick: 200), a channel and a consumer each",
            &["idle", "-u", "100"],
        )
    },
    Scenario {
        whole: &["-x", "10000", "-z", "10"],
        quick: &["-x", "1000", "-z", "2"],
        with_peer: false,
        ..scenario(
            "idle-many",
            "10,000 idle connections (quick: 1,000)",
            &["idle", "-u", "1000"],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "topic-1",
            "topic exchange, 1 binding",
            &["throughput", "-t", "topic", "-k", "sensor.{n}.warm"],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "topic-100k",
            "topic exchange, 100,000 bindings, one match",
            &[
                "throughput",
                "-t",
                "topic",
                "-k",
                "sensor.{n}.warm",
                "--bindings",
                "100000",
                "--routing-keys",
                "1",
            ],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "rate",
            "100,000/s, 1 queue, 2 connections",
            &["throughput", "--rate", "100000"],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "rate-queues",
            "100,000/s, 10,000 queues, 2 connections",
            &["throughput", "--rate", "100000", "-u", "10000"],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "rate-connections",
            "100,000/s, 500 queues, 1,000 connections",
            &[
                "throughput",
                "--rate",
                "100000",
                "-x",
                "500",
                "-y",
                "500",
                "-u",
                "500",
            ],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "rate-low",
            "20,000/s, 1 queue, 2 connections",
            &["throughput", "--rate", "20000"],
        )
    },
    Scenario {
        with_peer: false,
        ..scenario(
            "rate-low-connections",
            "20,000/s, 500 queues, 1,000 connections",
            &[
                "throughput",
                "--rate",
                "20000",
                "-x",
                "500",
                "-y",
                "500",
                "-u",
                "500",
            ],
        )
    },
];
