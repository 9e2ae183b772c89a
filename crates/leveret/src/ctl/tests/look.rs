//! Verbs that look at the log, at messages, quorum queues and certificates, and at listeners.

use server::control::parameters::ParameterRequest;

use super::*;

#[test]
fn what_is_asked_of_the_broker() {
    let level = |category: Option<&str>, level: &str| Request::SetLogLevel {
        category: category.map(str::to_owned),
        level: level.to_owned(),
    };
    asks("set_log_level debug", "", level(None, "debug"));
    asks(
        "set_log_level channel none",
        "",
        level(Some("channel"), "none"),
    );
    asks("suspend_listeners", "", Request::SuspendListeners);
    asks("resume_listeners", "", Request::ResumeListeners);
    let peek = Request::Peek {
        vhost: "v".into(),
        queue: "q".into(),
        position: 3,
    };
    asks("peek -p v q 3", "", peek);
    let matching = |object_type: &str, name: &str| {
        Request::Parameter(ParameterRequest::ListPoliciesThatMatch {
            vhost: "/".into(),
            object_type: object_type.into(),
            name: name.into(),
        })
    };
    asks("list_policies_that_match q", "", matching("queue", "q"));
    asks(
        "list_policies_that_match --object-type exchange e",
        "",
        matching("exchange", "e"),
    );
    for wrong in [
        "peek q 0",
        "peek q x",
        "peek q",
        "log_tail -N x",
        "log_tail_stream --duration x",
        "check_certificate_expiration x",
        "check_certificate_expiration 1 --unit hours",
    ] {
        let (code, _, _, asked) = run_with(wrong, "", Response::Done);
        assert!(code != exit::OK && asked.is_none(), "{wrong}");
    }
}

#[test]
fn banners_and_tables() {
    let rows = || Response::Rows(vec![vec![text("payload"), text("x")]]);
    let expected =
        "Peeking at queue q at position 1 on the broker at /d ...\nkeys\tvalues\npayload\tx\n";
    check("--data-dir /d peek q 1", rows(), (exit::OK, expected, ""));
    let expected = "[{\"keys\":\"payload\",\"values\":\"x\"}]\n";
    let (_, output, ..) = run_with("peek q 1 --formatter json", "", rows());
    assert_eq!(output.replace([' ', '\n'], "") + "\n", expected);
    let (code, output, ..) = run_with("quorum_status q", "", Response::Rows(Vec::new()));
    assert_eq!(code, exit::OK);
    assert!(output.starts_with("Status of queue q on "), "{output}");
    failed(
        "quorum_status q",
        Failure::Invalid("Cannot get quorum status of a classic queue".into()),
        exit::UNAVAILABLE,
        "Error:\nCannot get quorum status of a classic queue",
    );
}

#[test]
fn the_log_is_read_where_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("l.log");
    std::fs::write(&path, "one\ntwo\nthree\n").expect("there is room");
    let file = path.display().to_string();
    let files = || Response::Rows(vec![vec![text(&file)], vec![text("/audit.log")]]);
    let last = "two\nthree\n";
    check("-q log_tail --number 2", files(), (exit::OK, last, ""));
    check("-q log_tail_stream -d 0", files(), (exit::OK, "", ""));
    check(
        "-q log_location",
        files(),
        (exit::OK, &format!("{file}\n"), ""),
    );
    let all = format!("{file}\n/audit.log\n");
    check("-q log_location --all", files(), (exit::OK, &all, ""));
    let none = "Error:\nThe log goes to the console only: set log.file to read it here\n";
    for line in ["-q log_tail", "-q log_tail_stream"] {
        check(
            line,
            Response::Rows(Vec::new()),
            (exit::UNAVAILABLE, "", none),
        );
    }
}

#[test]
fn certificates_that_end_soon_fail_the_check() {
    let row = |expires_at_s| {
        let file = [text("/c.pem"), text("then"), Cell::Integer(expires_at_s)];
        let roots = [text("/ca.pem"), Cell::Missing, Cell::Missing];
        let row = std::iter::once(text("amqp/ssl")).chain(file).chain(roots);
        Response::Rows(vec![row.collect()])
    };
    let fine = "No certificates expire within 2 weeks\n";
    let line = "-q check_certificate_expiration 2";
    check(line, row(i64::MAX), (exit::OK, fine, ""));
    let soon = "Error:\nCertificates expire within 2 weeks:\namqp/ssl: /c.pem expires on then\n";
    check(line, row(7), (exit::UNAVAILABLE, "", soon));
}
