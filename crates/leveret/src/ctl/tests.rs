//! Command lines, and what rabbitmqctl 4.3 printed for them on RabbitMQ 4.3.6.

use server::control::protocol::{Cell, Failure, Listener, Password, Secret, Status};

use super::*;

mod look;
mod node;
mod policies;

/// Runs a command line (words apart by spaces, `""` for an empty one) with a broker that answers so.
fn run_with(line: &str, input: &str, answer: Response) -> (u8, String, String, Option<Request>) {
    let arguments: Vec<String> = line
        .split_whitespace()
        .map(|word| {
            if word == "\"\"" {
                String::new()
            } else {
                word.to_owned()
            }
        })
        .collect();
    let (mut output, mut errors, mut asked) = (Vec::new(), Vec::new(), None);
    let mut terminal = Terminal {
        input: &mut input.as_bytes(),
        output: &mut output,
        errors: &mut errors,
    };
    let code = execute(&arguments, &mut terminal, |_, request| {
        asked = Some(request.clone());
        Ok(answer.clone())
    });
    (
        code,
        String::from_utf8(output).unwrap(),
        String::from_utf8(errors).unwrap(),
        asked,
    )
}

fn check(line: &str, answer: Response, expected: (u8, &str, &str)) {
    let (code, output, errors, _) = run_with(line, "", answer);
    assert_eq!((code, output.as_str(), errors.as_str()), expected, "{line}");
}

fn failed(line: &str, failure: Failure, code: u8, text: &str) {
    let (actual, _, errors, _) = run_with(line, "", Response::Failed(failure));
    assert_eq!((actual, errors.trim_end()), (code, text), "{line}");
}

fn asks(line: &str, input: &str, request: Request) {
    let (code, _, errors, asked) = run_with(line, input, Response::Done);
    assert_eq!((code, asked), (exit::OK, Some(request)), "{line}: {errors}");
}

fn text(text: &str) -> Cell {
    Cell::from(text)
}

#[test]
fn banners_are_rabbitmqctls() {
    for (line, banner) in [
        (
            "change_password ann x",
            "Changing password for user \"ann\" ...\n",
        ),
        (
            "clear_password ann",
            "Clearing password for user \"ann\" ...\n",
        ),
        ("delete_user ann", "Deleting user \"ann\" ...\n"),
        (
            "set_user_tags ann t1 t2",
            "Setting tags for user \"ann\" to [t1, t2] ...\n",
        ),
        (
            "set_user_tags ann",
            "Setting tags for user \"ann\" to [] ...\n",
        ),
        ("add_vhost v", "Adding vhost \"v\" ...\n"),
        ("delete_vhost v", "Deleting vhost \"v\" ...\n"),
        (
            "set_permissions -p v ann .* .* .*",
            "Setting permissions for user \"ann\" in vhost \"v\" ...\n",
        ),
        (
            "clear_permissions ann",
            "Clearing permissions for user \"ann\" in vhost \"/\" ...\n",
        ),
        (
            "set_topic_permissions ann amq.topic ^a b",
            "Setting topic permissions on \"amq.topic\" for user \"ann\" in vhost \"/\" ...\n",
        ),
        (
            "clear_topic_permissions -p v ann",
            "Clearing topic permissions for user \"ann\" in vhost \"v\" ...\n",
        ),
        (
            "clear_topic_permissions -p v ann amq.topic",
            "Clearing topic permissions on \"amq.topic\" for user \"ann\" in vhost \"v\" ...\n",
        ),
        ("purge_queue -p v q", "Purging queue 'q' in vhost 'v' ...\n"),
        (
            "close_connection <1> bye",
            "Closing connection <1>, reason: bye...\n",
        ),
    ] {
        check(line, Response::Done, (exit::OK, banner, ""));
        check(&format!("-q {line}"), Response::Done, (exit::OK, "", ""));
        check(
            &format!("{line} --silent"),
            Response::Done,
            (exit::OK, "", ""),
        );
        let json = "{\"result\":\"ok\"}\n";
        check(
            &format!("{line} --formatter json"),
            Response::Done,
            (exit::OK, json, ""),
        );
    }
}

#[test]
fn some_successes_say_more() {
    let done = "Adding user \"ann\" ...\nDone. Don't forget to grant the user permissions to some \
                virtual hosts! See 'leveret ctl help set_permissions' to learn more.\n";
    check("add_user ann secret", Response::Done, (exit::OK, done, ""));
    check("-q add_user ann secret", Response::Done, (exit::OK, "", ""));
    let line = "authenticate_user ann x";
    let text = "Authenticating user \"ann\" ...\nSuccess\n";
    check(line, Response::Done, (exit::OK, text, ""));
    let text = "Deleting queue 'q' on vhost '/' if queue is empty and if queue is unused ...\n\
                Queue was successfully deleted with 3 ready messages\n";
    check(
        "delete_queue q -e --if-unused",
        Response::Count(3),
        (exit::OK, text, ""),
    );
    let text = "Closing all connections in vhost v, reason: bye...\nClosed 2 connections\n";
    check(
        "close_all_connections -p v bye",
        Response::Count(2),
        (exit::OK, text, ""),
    );
    let (code, output, ..) = run_with("ping", "", Response::Done);
    assert_eq!(
        (code, output.lines().last()),
        (exit::OK, Some("Ping succeeded"))
    );
}

#[test]
fn requests_carry_the_arguments() {
    let ann = || "ann".to_owned();
    let password = Password::Clear(Secret("secret".to_owned()));
    let add = Request::AddUser {
        user: ann(),
        password,
    };
    asks("add_user ann secret", "", add.clone());
    asks("add_user ann", "secret\n", add);
    let hash = "0lu5L0qn9USYdcuaS/AiadTLqg1yThFCSHe/l/dPbLpv7foK";
    let password = Password::Hash(Secret(hash.to_owned()));
    let line = format!("add_user ann --pre-hashed-password {hash}");
    asks(
        &line,
        "",
        Request::AddUser {
            user: ann(),
            password,
        },
    );
    asks(
        "add_vhost v --description=d --tags a,,b --default-queue-type quorum",
        "",
        Request::AddVhost {
            vhost: "v".to_owned(),
            description: "d".to_owned(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            default_queue_type: Some("quorum".to_owned()),
        },
    );
    asks(
        "set_permissions --vhost v ann -- ^a \"\" -x",
        "",
        Request::SetPermissions {
            vhost: "v".to_owned(),
            user: ann(),
            configure: "^a".to_owned(),
            write: String::new(),
            read: "-x".to_owned(),
        },
    );
    asks(
        "list_queues name messages_ready -p v -n rabbit@host -l",
        "",
        Request::ListQueues {
            vhost: "v".to_owned(),
            columns: vec!["name".to_owned(), "messages_ready".to_owned()],
        },
    );
    let permille = 400;
    asks(
        "set_vm_memory_high_watermark 0.4",
        "",
        Request::SetMemoryHighWatermark { permille },
    );
    asks(
        "set_vm_memory_high_watermark absolute 3MiB",
        "",
        Request::SetMemoryHighWatermarkAbsolute { bytes: 3 << 20 },
    );
    asks(
        "close_all_connections --global --limit 3 bye",
        "",
        Request::CloseAllConnections {
            vhost: None,
            limit: 0,
            explanation: "bye".to_owned(),
        },
    );
}

#[test]
fn lists_are_tables_or_json() {
    let rows = || {
        let tags = ["t1".to_owned(), "t2".to_owned()];
        Response::Rows(vec![
            vec![text("ann"), Cell::from(&tags[..])],
            vec![text("bob"), Cell::List(vec![])],
        ])
    };
    let body = "ann\t[t1, t2]\nbob\t[]\n";
    let all = format!("Listing users ...\nuser\ttags\n{body}");
    check("list_users", rows(), (exit::OK, &all, ""));
    check(
        "list_users -q",
        rows(),
        (exit::OK, &format!("user\ttags\n{body}"), ""),
    );
    check("list_users -s", rows(), (exit::OK, body, ""));
    let bare = format!("Listing users ...\n{body}");
    check(
        "list_users --no-table-headers",
        rows(),
        (exit::OK, &bare, ""),
    );
    let json =
        "[\n{\"user\":\"ann\",\"tags\":[\"t1\",\"t2\"]}\n,{\"user\":\"bob\",\"tags\":[]}\n]\n";
    check("list_users --formatter json", rows(), (exit::OK, json, ""));
    let none = "Listing consumers in vhost / ...\n";
    check(
        "list_consumers",
        Response::Rows(vec![]),
        (exit::OK, none, ""),
    );
    // The one list without headers.
    let rows = Response::Rows(vec![vec![text("/"), text("t"), text("^a"), text("b")]]);
    let expected = "Listing topic permissions for user \"ann\" ...\n/\tt\t^a\tb\n";
    check(
        "list_user_topic_permissions ann",
        rows,
        (exit::OK, expected, ""),
    );
}

#[test]
fn field_tables_look_as_erlang_prints_them() {
    let entry = |key: &str, kind: &str, cell: Cell| (key.to_owned(), kind.to_owned(), cell);
    let table = Cell::Table(vec![
        entry(
            "d",
            "table",
            Cell::Table(vec![entry("z", "signedint", Cell::Integer(1))]),
        ),
        entry(
            "l",
            "array",
            Cell::Array(vec![
                ("signedint".to_owned(), Cell::Integer(1)),
                ("longstr".to_owned(), text("a\"b")),
            ]),
        ),
        entry("n", "void", Cell::Missing),
        entry("t", "bool", Cell::Bool(true)),
    ]);
    let rows = || Response::Rows(vec![vec![text("q"), table.clone(), Cell::Missing]]);
    let line = "-s list_queues name arguments policy";
    let expected =
        "q\t[{\"d\",[{\"z\",1}]},{\"l\",[1,\"a\\\"b\"]},{\"n\",undefined},{\"t\",true}]\t\n";
    check(line, rows(), (exit::OK, expected, ""));
    let expected = concat!(
        "[\n{\"name\":\"q\",\"arguments\":[[\"d\",\"table\",[[\"z\",\"signedint\",1]]],",
        "[\"l\",\"array\",[[\"signedint\",1],[\"longstr\",\"a\\\"b\"]]],[\"n\",\"void\",\"undefined\"],",
        "[\"t\",\"bool\",true]],\"policy\":\"\"}\n]\n"
    );
    check(
        &format!("{line} --formatter json"),
        rows(),
        (exit::OK, expected, ""),
    );
    let empty = || Response::Rows(vec![vec![text("q"), Cell::Table(vec![]), Cell::Float(1.0)]]);
    check(line, empty(), (exit::OK, "q\t[]\t1.0\n", ""));
}

#[test]
fn failures_have_rabbitmqctls_texts_and_codes() {
    use Failure as F;
    let (ann, nope) = (|| "ann".to_owned(), || "nope".to_owned());
    failed(
        "add_user ann x",
        F::UserExists(ann()),
        70,
        "Error:\nUser \"ann\" already exists",
    );
    let text = "Error:\nUser \"ann\" does not exist";
    failed("change_password ann x", F::NoSuchUser(ann()), 67, text);
    failed("set_user_tags ann", F::NoSuchUser(ann()), 67, text);
    failed("clear_password ann", F::NoSuchUser(ann()), 69, text);
    failed("list_user_permissions ann", F::NoSuchUser(ann()), 69, text);
    let line = "set_permissions -p nope ann a b c";
    failed(
        line,
        F::NoSuchUser(ann()),
        67,
        "Error:\nUser ann does not exist",
    );
    failed(
        line,
        F::NoSuchVhost(nope()),
        69,
        "Error:\nVirtual host nope does not exist",
    );
    let text = "Virtual host 'nope' does not exist";
    failed("list_permissions -p nope", F::NoSuchVhost(nope()), 65, text);
    failed("delete_vhost nope", F::NoSuchVhost(nope()), 65, text);
    let line = "set_topic_permissions ann nope a b";
    failed(
        line,
        F::NoSuchExchange(nope()),
        69,
        "Error:\nExchange nope does not exist",
    );
    let text = "Object (queue, stream, exchange, etc) was not found";
    failed("purge_queue nope", F::NoSuchQueue(nope()), 65, text);
    failed(
        "delete_queue nope",
        F::NoSuchQueue(nope()),
        64,
        "Error:\nNo such queue was found",
    );
    let reason = "user 'ann' - invalid credentials";
    let text = format!("Error:\nError: failed to authenticate user \"ann\"\n{reason}");
    failed(
        "authenticate_user ann x",
        F::Refused(reason.to_owned()),
        65,
        &text,
    );
    let json = "{\"message\":\"User \\\"ann\\\" already exists\",\"result\":\"error\"}";
    failed(
        "add_user ann x --formatter json",
        F::UserExists(ann()),
        70,
        json,
    );
    failed(
        "ping",
        F::Unable("no disk".to_owned()),
        69,
        "Error:\nno disk",
    );
}

/// What is wrong with a command line, without the lines about usage.
fn wrong(line: &str, code: u8, text: &str) {
    let (actual, output, errors, asked) = run_with(line, "", Response::Done);
    assert_eq!((actual, output.as_str(), asked), (code, "", None), "{line}");
    let first = errors.split("\nArguments given:").next().unwrap();
    assert_eq!(first.trim_end(), text, "{line}");
}

#[test]
fn wrong_command_lines_are_refused_before_anything_is_asked() {
    let invalid = |text: &str| format!("Error (argument validation): {text}");
    wrong("add_user", 64, &invalid("not enough arguments."));
    wrong("add_user a b c", 64, &invalid("too many arguments."));
    wrong("list_users x", 64, &invalid("too many arguments."));
    wrong(
        "add_user \"\" x",
        65,
        &invalid("Bad argument: user cannot be an empty string"),
    );
    wrong(
        "list_vhosts nme",
        64,
        &invalid("Info key(s) nme are not supported"),
    );
    let text = "Invalid options for this command:\n--nope : ";
    wrong("add_user --nope x", 64, invalid(text).trim_end());
    wrong(
        "list_users --vhost",
        64,
        invalid("Invalid options for this command:\n--vhost : ").trim_end(),
    );
    let text = "Bad argument: unsupported hashing algorithm: xxx";
    wrong(
        "hash_password x --hashing-algorithm xxx",
        65,
        &invalid(text),
    );
    let text =
        "Bad argument: Default queue type must be one of: quorum, stream, classic. Provided: x";
    wrong("add_vhost v --default-queue-type x", 65, &invalid(text));
    let text = "Bad argument: Could not Base64 decode provided password hash value";
    wrong("add_user a !! --pre-hashed-password", 65, &invalid(text));
    let text = "Bad argument: The threshold should be a fraction between 0.0 and 1.0";
    wrong("set_vm_memory_high_watermark 1.5", 65, &invalid(text));
    let text = "Bad argument: Invalid units.";
    wrong(
        "set_vm_memory_high_watermark absolute 1X",
        65,
        &invalid(text),
    );
    wrong(
        "list_userz",
        64,
        "\nCommand 'list_userz' not found. \nDid you mean 'list_users'?",
    );
    let (code, _, errors, _) = run_with("frobnicate", "", Response::Done);
    assert_eq!(code, 64);
    assert!(
        errors.starts_with("\nCommand 'frobnicate' not found. \n\nUsage\n"),
        "{errors}"
    );
    let (_, _, errors, _) = run_with("add_user", "", Response::Done);
    let usage = "Error (argument validation): not enough arguments.\nArguments given:\n\tadd_user\n\n\
                 Usage\n\nleveret ctl [--data-dir <dir>] [--quiet] add_user <username> [<password>] \
                 [<password_hash> --pre-hashed-password]\n";
    assert_eq!(errors, usage);
    assert_eq!(run_with("", "", Response::Done).0, 64);
    let (code, _, errors, _) = run_with("change_password ann", "", Response::Done);
    assert_eq!(
        (code, errors.as_str()),
        (
            70,
            "Error:\nPassword is not provided via argument or stdin\n"
        )
    );
}

#[test]
fn help_is_no_error() {
    for line in ["--help", "help", "help add_user", "add_user --help"] {
        let (code, output, errors, asked) = run_with(line, "", Response::Done);
        assert_eq!(
            (code, errors.as_str(), asked),
            (exit::OK, "", None),
            "{line}"
        );
        assert!(output.contains("add_user <username>"), "{line}: {output}");
    }
}

#[test]
fn a_hashed_password_verifies() {
    use metadata::identity::{HashingAlgorithm, PasswordHash};
    let (_, output, ..) = run_with("-q hash_password secret", "", Response::Done);
    let hash = PasswordHash::from_base64(output.trim()).unwrap();
    assert!(hash.verify(HashingAlgorithm::Sha256, b"secret"));
    let line = "hash_password --hashing-algorithm SHA512 -q";
    let (_, output, ..) = run_with(line, "secret\n", Response::Done);
    let hash = PasswordHash::from_base64(output.trim()).unwrap();
    assert!(hash.verify(HashingAlgorithm::Sha512, b"secret"));
}

#[test]
fn status_has_sections() {
    let listener = Listener {
        protocol: "amqp".to_owned(),
        interface: "[::]".to_owned(),
        port: 5672,
    };
    let status = Status {
        pid: 7,
        version: "1.2.3".to_owned(),
        resident_bytes: Some(31_000_000),
        listeners: vec![listener],
        queue_count: 3,
        message_log_failure: Some("log-1: Input/output error".to_owned()),
        disk_free_bytes: Some(1_500_000),
        message_log_damages: vec!["segment-1 at byte 64: a message is damaged".to_owned()],
        ..Status::default()
    };
    let (_, output, ..) = run_with("-q status", "", Response::Status(Box::new(status.clone())));
    for line in [
        "OS PID: 7",
        "Leveret version: 1.2.3",
        "Total memory used: 0.0310 gb",
        "Queue count: 3",
        "Free disk space: 1.5 mb",
        "Message log failed: log-1: Input/output error",
        "segment-1 at byte 64: a message is damaged",
        "Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1",
    ] {
        assert!(output.lines().any(|l| l == line), "{line} in {output}");
    }
    let (_, output, ..) = run_with(
        "status --formatter json",
        "",
        Response::Status(Box::new(status)),
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&output).unwrap()["queue_count"],
        3
    );
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let dir = std::env::temp_dir().join("leveret-ctl-no-such-directory");
    let arguments = [
        "--data-dir".to_owned(),
        dir.display().to_string(),
        "ping".to_owned(),
    ];
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        input: &mut &b""[..],
        output: &mut output,
        errors: &mut errors,
    };
    let code = execute(&arguments, &mut terminal, socket::ask);
    let errors = String::from_utf8(errors).unwrap();
    assert_eq!(code, exit::UNAVAILABLE);
    assert!(
        errors.contains("leveret-ctl-no-such-directory/control.sock: No such file"),
        "{errors}"
    );
}
