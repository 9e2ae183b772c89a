//! Verbs that list, and the columns each knows. The columns and their defaults are rabbitmqctl's.

use server::control::protocol::Request;

use super::{Act, Columns, PLAIN, Switch, Verb, fixed};

const PERMISSIONS: &[&str] = &["user", "configure", "write", "read"];
const USER_PERMISSIONS: &[&str] = &["vhost", "configure", "write", "read"];
const TOPIC_PERMISSIONS: &[&str] = &["user", "exchange", "write", "read"];
const USER_TOPIC_PERMISSIONS: &[&str] = &["vhost", "exchange", "write", "read"];
const USERS: &[&str] = &["user", "tags"];
const VHOSTS: &[&str] = &[
    "name",
    "description",
    "tags",
    "default_queue_type",
    "protected_from_deletion",
    "tracing",
    "cluster_state",
    "metadata",
];
const QUEUES: &[&str] = &[
    "name",
    "durable",
    "auto_delete",
    "arguments",
    "policy",
    "operator_policy",
    "effective_policy_definition",
    "pid",
    "owner_pid",
    "exclusive",
    "exclusive_consumer_pid",
    "exclusive_consumer_tag",
    "messages_ready",
    "messages_unacknowledged",
    "messages",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "messages_ram",
    "messages_persistent",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes_ram",
    "message_bytes_persistent",
    "head_message_timestamp",
    "disk_reads",
    "disk_writes",
    "consumers",
    "consumer_utilisation",
    "consumer_capacity",
    "memory",
    "state",
    "type",
    "leader",
    "members",
    "online",
];
const EXCHANGES: &[&str] = &[
    "name",
    "type",
    "durable",
    "auto_delete",
    "internal",
    "arguments",
    "policy",
];
const BINDINGS: &[&str] = &[
    "source_name",
    "source_kind",
    "destination_name",
    "destination_kind",
    "routing_key",
    "arguments",
];
const CONNECTIONS: &[&str] = &[
    "pid",
    "name",
    "port",
    "host",
    "peer_port",
    "peer_host",
    "ssl",
    "ssl_protocol",
    "ssl_key_exchange",
    "ssl_cipher",
    "ssl_hash",
    "peer_cert_subject",
    "peer_cert_issuer",
    "peer_cert_serial_number",
    "peer_cert_validity",
    "state",
    "channels",
    "protocol",
    "auth_mechanism",
    "user",
    "vhost",
    "container_id",
    "timeout",
    "frame_max",
    "channel_max",
    "client_properties",
    "recv_oct",
    "recv_cnt",
    "send_oct",
    "send_cnt",
    "send_pend",
    "connected_at",
];
const CHANNELS: &[&str] = &[
    "pid",
    "connection",
    "name",
    "number",
    "user",
    "vhost",
    "transactional",
    "confirm",
    "consumer_count",
    "messages_unacknowledged",
    "messages_uncommitted",
    "acks_uncommitted",
    "messages_unconfirmed",
    "prefetch_count",
];
const CONSUMERS: &[&str] = &[
    "queue_name",
    "channel_pid",
    "consumer_tag",
    "ack_required",
    "prefetch_count",
    "active",
    "activity_status",
    "arguments",
];

/// Columns to choose from.
const fn of(all: &'static [&'static str], default: &'static [&'static str]) -> Option<Columns> {
    Some(Columns {
        all,
        default,
        headers: true,
    })
}

const ANY: (usize, usize) = (0, usize::MAX);

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "list_users",
        usage: "[--no-table-headers]",
        columns: fixed(USERS, true),
        banner: |_| "Listing users ...".to_owned(),
        act: Act::Ask(|line| Request::ListUsers {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_permissions",
        usage: "[--vhost <vhost>] [--no-table-headers]",
        columns: fixed(PERMISSIONS, true),
        banner: |line| format!("Listing permissions for vhost \"{}\" ...", line.vhost),
        act: Act::Ask(|line| Request::ListPermissions {
            vhost: line.vhost.clone(),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_user_permissions",
        usage: "[--no-table-headers] <username>",
        arguments: (1, 1),
        columns: fixed(USER_PERMISSIONS, true),
        banner: |line| format!("Listing permissions for user \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| Request::ListUserPermissions {
            user: line.argument(0),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_topic_permissions",
        usage: "[--vhost <vhost>] [--no-table-headers]",
        columns: fixed(TOPIC_PERMISSIONS, true),
        banner: |line| format!("Listing topic permissions for vhost \"{}\" ...", line.vhost),
        act: Act::Ask(|line| Request::ListTopicPermissions {
            vhost: line.vhost.clone(),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_user_topic_permissions",
        usage: "[--no-table-headers] <username>",
        arguments: (1, 1),
        columns: fixed(USER_TOPIC_PERMISSIONS, false),
        banner: |line| {
            format!(
                "Listing topic permissions for user \"{}\" ...",
                line.argument(0)
            )
        },
        act: Act::Ask(|line| Request::ListUserTopicPermissions {
            user: line.argument(0),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_vhosts",
        usage: "[--no-table-headers] [<column> ...]",
        arguments: ANY,
        columns: of(VHOSTS, &["name"]),
        banner: |_| "Listing vhosts ...".to_owned(),
        act: Act::Ask(|line| Request::ListVhosts {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_queues",
        usage: "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, ...]",
        arguments: ANY,
        // One node has all queues, and all of them are up.
        switches: &[
            Switch::flag("online"),
            Switch::flag("offline"),
            Switch::flag("local"),
        ],
        columns: of(QUEUES, &["name", "messages"]),
        banner: |line| {
            let seconds = line.timeout_s.unwrap_or(60);
            let vhost = &line.vhost;
            format!("Timeout: {seconds}.0 seconds ...\nListing queues for vhost {vhost} ...")
        },
        act: Act::Ask(|line| Request::ListQueues {
            vhost: line.vhost.clone(),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_exchanges",
        usage: "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
        arguments: ANY,
        columns: of(EXCHANGES, &["name", "type"]),
        banner: |line| format!("Listing exchanges for vhost {} ...", line.vhost),
        act: Act::Ask(|line| Request::ListExchanges {
            vhost: line.vhost.clone(),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_bindings",
        usage: "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
        arguments: ANY,
        columns: of(BINDINGS, BINDINGS),
        banner: |line| format!("Listing bindings for vhost {}...", line.vhost),
        act: Act::Ask(|line| Request::ListBindings {
            vhost: line.vhost.clone(),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_connections",
        usage: "[--no-table-headers] [<column> ...]",
        arguments: ANY,
        columns: of(CONNECTIONS, &["user", "peer_host", "peer_port", "state"]),
        banner: |_| "Listing connections ...".to_owned(),
        act: Act::Ask(|line| Request::ListConnections {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_channels",
        usage: "[--no-table-headers] [<column> ...]",
        arguments: ANY,
        columns: of(
            CHANNELS,
            &["pid", "user", "consumer_count", "messages_unacknowledged"],
        ),
        banner: |_| "Listing channels ...".to_owned(),
        act: Act::Ask(|line| Request::ListChannels {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "list_consumers",
        usage: "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
        arguments: ANY,
        columns: of(
            CONSUMERS,
            &[
                "queue_name",
                "channel_pid",
                "consumer_tag",
                "ack_required",
                "prefetch_count",
                "active",
                "arguments",
            ],
        ),
        banner: |line| format!("Listing consumers in vhost {} ...", line.vhost),
        act: Act::Ask(|line| Request::ListConsumers {
            vhost: line.vhost.clone(),
            columns: line.columns(),
        }),
        ..PLAIN
    },
];
