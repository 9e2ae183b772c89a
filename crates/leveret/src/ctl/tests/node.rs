//! Verbs about the node as a whole, and those that have nothing to do on one node.

use super::*;

fn status() -> Response {
    let listener = |protocol: &str, interface: &str, port| Listener {
        protocol: protocol.to_owned(),
        interface: interface.to_owned(),
        port,
    };
    Response::Status(Box::new(Status {
        cluster_name: "hare@field".to_owned(),
        version: "1.2.3".to_owned(),
        cpu_cores: 4,
        resident_bytes: Some(4_000_000_000),
        message_cache_bytes: Some(1_000_000_000),
        listeners: vec![
            listener("amqp", "::", 5672),
            listener("http/prometheus", "127.0.0.1", 15692),
        ],
        ..Status::default()
    }))
}

#[test]
fn a_cluster_of_one_has_a_status() {
    let expected = "Basics\n\nCluster name: hare@field\nTotal CPU cores available cluster-wide: 4\n\n\
         Disk Nodes\n\nhare@field\n\nRunning Nodes\n\nhare@field\n\n\
         Versions\n\nhare@field: Leveret 1.2.3\n\n\
         CPU Cores\n\nNode: hare@field, available CPU cores: 4\n\n\
         Maintenance status\n\nNode: hare@field, status: not under maintenance\n\n\
         Alarms\n\n(none)\n\nNetwork Partitions\n\n(none)\n\n\
         Listeners\n\n\
         Node: hare@field, interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1\n\
         Node: hare@field, interface: 127.0.0.1, port: 15692, protocol: http/prometheus, purpose: Prometheus \
         exporter API over HTTP\n\n";
    check("-q cluster_status", status(), (0, expected, ""));
    let (_, output, ..) = run_with("cluster_status --formatter json", "", status());
    let json: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!(json["running_nodes"][0], "hare@field");
    assert_eq!(json["listeners"]["hare@field"][1]["port"], 15692);
}

#[test]
fn memory_is_broken_down() {
    let expected = "other: 3.0000 gb (75.00%)\nmessages: 1.0000 gb (25.00%)\n";
    check("-q memory_breakdown", status(), (0, expected, ""));
    let expected = "other: 3000.0000 mb (75.00%)\nmessages: 1000.0000 mb (25.00%)\n";
    check("-q memory_breakdown --unit mb", status(), (0, expected, ""));
    let (code, ..) = run_with("memory_breakdown --unit pt", "", status());
    assert_eq!(code, exit::DATAERR);
}

#[test]
fn limits_of_the_disk_are_asked_for() {
    let bytes = |bytes| Request::SetDiskFreeLimit { bytes };
    let part = |permille| Request::SetDiskFreeLimitRelative { permille };
    asks("set_disk_free_limit 5", "", bytes(5));
    asks("set_disk_free_limit 2GiB", "", bytes(2 << 30));
    asks("set_disk_free_limit 50MB", "", bytes(50_000_000));
    asks("set_disk_free_limit mem_relative 1.5", "", part(1500));
    for wrong in [
        "set_disk_free_limit 1XB",
        "set_disk_free_limit mem_relative",
        "set_disk_free_limit mem_relative x",
        "set_disk_free_limit 1 2",
    ] {
        let (code, _, _, asked) = run_with(wrong, "", Response::Done);
        assert_eq!((code, asked), (exit::DATAERR, None), "{wrong}");
    }
}

#[test]
fn flags_are_on_or_unknown() {
    let rows = || Response::Rows(vec![vec![text("quorum_queue")]]);
    check("-q enable_feature_flag quorum_queue", rows(), (0, "", ""));
    check("-q enable_feature_flag all", rows(), (0, "", ""));
    let refused = "Error:\nFeature flag \"x\" is not supported\n";
    check(
        "-q enable_feature_flag x",
        rows(),
        (exit::UNAVAILABLE, "", refused),
    );
}

#[test]
fn what_has_nothing_to_do_asks_whether_there_is_a_broker() {
    for line in [
        "await_online_nodes 1",
        "reconcile_vhosts",
        "rotate_logs",
        "force_gc",
        "reclaim_quorum_memory q",
        "rebalance all --queue-pattern .*",
        "node_health_check",
        "has_reached_target_cluster_size",
        "check_for_quorum_queues_without_an_elected_leader -p v .*",
    ] {
        asks(line, "", Request::Ping);
    }
    let refused = "Error:\n3 nodes will never be online: this broker is one\n";
    check(
        "-q await_online_nodes 3",
        Response::Done,
        (exit::UNAVAILABLE, "", refused),
    );
}

#[test]
fn a_report_is_verb_after_verb() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        input: &mut &b""[..],
        output: &mut output,
        errors: &mut errors,
    };
    let mut asked = Vec::new();
    let code = execute(&words("report"), &mut terminal, |_, request| {
        asked.push(request.clone());
        Ok(match request {
            Request::ListVhosts { .. } => Response::Rows(vec![vec![text("/")], vec![text("v")]]),
            Request::Status => status(),
            Request::Parameter(_) => Response::Text("{}".to_owned()),
            _ => Response::Rows(Vec::new()),
        })
    });
    assert_eq!((code, String::from_utf8(errors).unwrap().as_str()), (0, ""));
    let output = String::from_utf8(output).unwrap();
    for part in [
        "Cluster name: hare@field",
        "Listing queues for vhost / ...",
        "Listing queues for vhost v ...",
        "Configuration of the broker",
    ] {
        assert!(output.contains(part), "{part} in {output}");
    }
    let queues = asked.iter().filter_map(|request| match request {
        Request::ListQueues { vhost, .. } => Some(vhost.as_str()),
        _ => None,
    });
    assert_eq!(queues.collect::<Vec<_>>(), ["/", "v"]);
}
