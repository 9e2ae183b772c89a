//! Verbs whose answer is that of a cluster of one node, or that have nothing to do here: scripts call them all the same.
//!
//! Each asks the broker first, so that one that does not run fails. Deliberately absent: verbs that would have to lie
//! (joining a cluster, growing a queue, resetting, Erlang); COMPAT.md lists them.

use server::control::protocol::Request;

use super::{Act, PLAIN, Switch, Verb};
use crate::ctl::line::Line;
use crate::ctl::{Refusal, exit};

/// A verb that is done once the broker has answered.
const fn nothing_to_do(name: &'static str, usage: &'static str, arguments: (usize, usize)) -> Verb {
    says(name, usage, arguments, |_| Ok(String::new()))
}

/// A verb that says something once the broker has answered.
const fn says(
    name: &'static str,
    usage: &'static str,
    arguments: (usize, usize),
    text: fn(&Line) -> Result<String, Refusal>,
) -> Verb {
    Verb {
        name,
        usage,
        arguments,
        switches: SWITCHES,
        act: Act::DoNothing(text),
        ..PLAIN
    }
}

/// Those of `rebalance`, which mean nothing here.
const SWITCHES: &[Switch] = &[
    Switch::value("vhost-pattern"),
    Switch::value("queue-pattern"),
];

/// What is asked of the broker: whether it runs.
pub(in crate::ctl) const QUESTION: Request = Request::Ping;

fn healthy(text: &'static str) -> Result<String, Refusal> {
    Ok(format!("{text}\n"))
}

pub(super) const VERBS: &[Verb] = &[
    says("await_online_nodes", "<count>", (1, 1), online_nodes),
    says("has_reached_target_cluster_size", "", (0, 0), |_| {
        healthy("The cluster has reached its target size: one node")
    }),
    says("check_if_metadata_store_is_initialized", "", (0, 0), |_| {
        healthy("The catalog is initialized")
    }),
    says(
        "check_if_metadata_store_is_initialized_with_data",
        "",
        (0, 0),
        |_| healthy("The catalog is initialized"),
    ),
    says(
        "check_for_quorum_queues_without_an_elected_leader",
        "[--vhost <vhost>] [<pattern>]",
        (0, 1),
        |_| healthy("Every quorum queue is led by this node"),
    ),
    says(
        "check_if_new_quorum_queue_replicas_have_finished_initial_sync",
        "",
        (0, 0),
        |_| healthy("There are no replicas that could be behind"),
    ),
    says(
        "check_if_cluster_has_classic_queue_mirroring_policy",
        "",
        (0, 0),
        |_| healthy("There are no policies that enable classic queue mirroring"),
    ),
    nothing_to_do("check_if_node_is_mirror_sync_critical", "", (0, 0)),
    nothing_to_do("node_health_check", "", (0, 0)),
    nothing_to_do("list_policies_with_classic_queue_mirroring", "", (0, 0)),
    nothing_to_do(
        "list_operator_policies_with_classic_queue_mirroring",
        "",
        (0, 0),
    ),
    nothing_to_do("remove_classic_queue_mirroring_from_policies", "", (0, 0)),
    nothing_to_do("reconcile_vhosts", "", (0, 0)),
    nothing_to_do("rotate_logs", "", (0, 0)),
    nothing_to_do("force_gc", "", (0, 0)),
    nothing_to_do("reclaim_quorum_memory", "<queue>", (1, 1)),
    nothing_to_do("force_checkpoint", "", (0, 0)),
    nothing_to_do("reset_stats_db", "", (0, 0)),
    says("rebalance", "<type>", (1, 1), |_| {
        healthy("There is one node: every queue is where it belongs")
    }),
    says("tls_versions", "", (0, 0), |_| healthy("tlsv1.3\ntlsv1.2")),
];

fn online_nodes(line: &Line) -> Result<String, Refusal> {
    let count = line.argument(0);
    match count.parse::<u64>() {
        Ok(0 | 1) => Ok(String::new()),
        Ok(count) => Err(Refusal::new(
            exit::UNAVAILABLE,
            format!("Error:\n{count} nodes will never be online: this broker is one"),
        )),
        Err(_) => Err(Refusal::new(
            exit::USAGE,
            format!("Error:\nexpected a number of nodes, not {count}"),
        )),
    }
}
