//! Policies, limits, definitions and diagnostics: what rabbitmqctl 4.3 printed for them on RabbitMQ 4.3.6.

use serde_json::json;
use server::control::parameters::ParameterRequest;

use super::*;

#[test]
fn policies_are_asked_for_as_typed() {
    asks(
        "-p shop set_policy ttl ^a {\"message-ttl\":5} --priority 3 --apply-to queues",
        "",
        Request::Parameter(ParameterRequest::SetPolicy {
            vhost: "shop".to_owned(),
            operator: false,
            name: "ttl".to_owned(),
            pattern: "^a".to_owned(),
            definition: "{\"message-ttl\":5}".to_owned(),
            priority: 3,
            apply_to: "queues".to_owned(),
        }),
    );
    asks(
        "clear_user_limits ann all",
        "",
        Request::Parameter(ParameterRequest::ClearUserLimits {
            user: "ann".to_owned(),
            name: None,
        }),
    );
    let (code, _, errors, _) = run_with("set_policy a b {} --priority x", "", Response::Done);
    assert_eq!(code, exit::DATAERR);
    assert!(errors.contains("--priority : x"), "{errors}");
}

#[test]
fn policies_are_said_and_listed_as_rabbitmqctl_does() {
    check(
        "-p shop set_operator_policy o ^a {\"max-length\":5}",
        Response::Done,
        (
            exit::OK,
            "Setting operator policy override \"o\" for pattern \"^a\" to \"{\"max-length\":5}\" with \
             priority \"0\" for vhost \"shop\" ...\n",
            "",
        ),
    );
    let row = ["/", "ttl", "^a", "queues", "{\"message-ttl\":5}", "3"]
        .map(text)
        .to_vec();
    check(
        "list_policies",
        Response::Rows(vec![row]),
        (
            exit::OK,
            "Listing policies for vhost \"/\" ...\nvhost\tname\tpattern\tapply-to\tdefinition\tpriority\n\
             /\tttl\t^a\tqueues\t{\"message-ttl\":5}\t3\n",
            "",
        ),
    );
    failed(
        "clear_policy ttl",
        Failure::Invalid("Parameter does not exist".to_owned()),
        exit::UNAVAILABLE,
        "Error:\nParameter does not exist",
    );
    check(
        "list_vhost_limits",
        Response::Text("{\"max-queues\":5}".to_owned()),
        (
            exit::OK,
            "Listing limits for vhost \"/\" ...\n{\"max-queues\":5}\n",
            "",
        ),
    );
    check(
        "list_vhost_limits -q",
        Response::Text("{}".to_owned()),
        (exit::OK, "\n", ""),
    );
}

#[test]
fn lists_come_as_csv_and_as_drawn_tables() {
    let rows = || Response::Rows(vec![vec![text("a \"b\""), Cell::Integer(7)]]);
    check(
        "list_queues name messages --formatter csv",
        rows(),
        (exit::OK, "\"name\",\"messages\"\n\"a \"\"b\"\"\",7\n", ""),
    );
    check(
        "-q list_queues name messages --formatter pretty_table",
        rows(),
        (
            exit::OK,
            "┌───────┬──────────┐\n│ name  │ messages │\n├───────┼──────────┤\n│ a \"b\" │ 7        │\n\
             └───────┴──────────┘\n",
            "",
        ),
    );
}

#[test]
fn definitions_go_to_a_file_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.json");
    let document = json!({"users": []});
    let line = format!("-q export_definitions {}", path.display());
    check(&line, Response::Json(document.clone()), (exit::OK, "", ""));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        document.to_string()
    );
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let line = format!("-q import_definitions {}", path.display());
    asks(
        &line,
        "",
        Request::Parameter(ParameterRequest::ImportDefinitions { document }),
    );
    check(
        "export_definitions -",
        Response::Json(json!({})),
        (exit::OK, "{}\n", ""),
    );
}

#[test]
fn an_import_tells_what_was_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.json");
    std::fs::write(&path, "{}").unwrap();
    let line = format!("-q import_definitions {}", path.display());
    let warnings = vec!["unknown key 'x' was ignored".to_owned()];
    let imported = |refused| Response::Imported {
        warnings: warnings.clone(),
        refused,
    };
    check(
        &line,
        imported(vec![]),
        (exit::OK, "Warning: unknown key 'x' was ignored\n", ""),
    );
    check(
        &line,
        imported(vec!["queue 'q': no".to_owned()]),
        (
            exit::SOFTWARE,
            "",
            "Warning: unknown key 'x' was ignored\nError:\nThese were not imported, everything else \
             was:\nqueue 'q': no\n",
        ),
    );
    let (code, _, errors, _) = run_with("import_definitions /nonexistent", "", Response::Done);
    assert_eq!(code, exit::DATAERR);
    assert!(
        errors.contains("Bad argument: File /nonexistent does not exist"),
        "{errors}"
    );
}

#[test]
fn health_checks_exit_with_what_they_find() {
    let status = |alarms: Option<&str>| {
        Response::Status(Box::new(Status {
            alarms: alarms.map(str::to_owned),
            listeners: vec![Listener {
                protocol: "amqp".to_owned(),
                interface: "127.0.0.1".to_owned(),
                port: 5672,
            }],
            ..Status::default()
        }))
    };
    let code = |line: &str, response: Response| run_with(line, "", response).0;
    for line in [
        "check_running",
        "check_local_alarms",
        "check_alarms",
        "check_virtual_hosts",
    ] {
        assert_eq!(code(line, status(None)), exit::OK, "{line}");
    }
    assert_eq!(
        code("check_local_alarms", status(Some("low on memory"))),
        exit::UNAVAILABLE
    );
    assert_eq!(code("alarms", status(Some("low on memory"))), exit::OK);
    assert_eq!(code("check_port_listener 5672", status(None)), exit::OK);
    assert_eq!(
        code("check_port_listener 1", status(None)),
        exit::UNAVAILABLE
    );
    assert_eq!(code("check_port_listener x", status(None)), exit::DATAERR);
    assert_eq!(code("check_protocol_listener amqp", status(None)), exit::OK);
    assert_eq!(
        code("check_protocol_listener mqtt", status(None)),
        exit::UNAVAILABLE
    );
}
