//! Starting: the announcement, and one clear line for everything that keeps a broker from starting.

use std::net::TcpListener;

use crate::broker::{Broker, leveret, run};

/// The arguments make `leveret` fail with one line that contains each of `texts`.
fn fails(arguments: &[&str], texts: &[&str]) {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for text in texts {
        assert!(errors.contains(text), "{text} in {errors}");
    }
}

#[test]
fn one_line_says_what_is_served_and_where_the_data_is() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let expected = format!(
        "leveret {} serves AMQP on {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        broker.address,
        dir.path().canonicalize().unwrap().display()
    );
    assert_eq!(broker.announcement, expected);
    assert_ne!(broker.address.port(), 0);
    broker.client();
    broker.stop();
}

#[test]
fn a_data_directory_is_made_if_it_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    Broker::start(&deep).stop();
    assert!(deep.is_dir());
}

#[test]
fn two_brokers_cannot_have_one_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let path = dir.path().to_str().unwrap();
    let second = ["serve", "--data-dir", path, "--amqp", "127.0.0.1:0"];
    fails(&second, &[path, "in use by another process (pid"]);
    // The first one has not noticed.
    assert_eq!(broker.ctl("ping"), "Ping succeeded\n");
    broker.client();
    broker.stop();
    Broker::start(dir.path()).stop();
}

#[test]
fn a_port_in_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let path = dir.path().to_str().unwrap();
    fails(
        &["serve", "--data-dir", path, "--amqp", &address],
        &["cannot listen on", &address, "in use"],
    );
}

#[test]
fn a_data_directory_that_cannot_be_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().join("data");
    let path = path.to_str().unwrap();
    fails(
        &["serve", "--data-dir", path, "--amqp", "127.0.0.1:0"],
        &["cannot use data directory", path],
    );
}

#[test]
fn a_wrong_line_of_the_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("leveret.conf");
    std::fs::write(&config, "# limits\nheartbeat = 30\nchanel_max = 100\n").unwrap();
    let config = config.to_str().unwrap();
    let path = dir.path().to_str().unwrap();
    fails(
        &["serve", "--data-dir", path, "--config", config],
        &[
            &format!("{config}:3: unknown key chanel_max"),
            "channel_max",
        ],
    );
    fails(
        &["serve", "--data-dir", path, "--config", "/no/such/file"],
        &["/no/such/file: cannot be read"],
    );
}

#[test]
fn the_configuration_is_obeyed_and_flags_win() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("leveret.conf");
    std::fs::write(
        &config,
        "listeners.tcp.default = 1\nheartbeat = 7\ndefault_user = ann\ndefault_pass = geheim\ndefault_vhost = v\n",
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let arguments = ["--config", config, "--amqp", "127.0.0.1:0"];
    let broker = Broker::start_with(&dir.path().join("data"), &arguments);
    broker.client_of("ann", "geheim", "v");
    assert_eq!(broker.ctl("list_vhosts"), "v\n");
    assert_eq!(broker.ctl("list_users"), "ann\t[administrator]\n");
    broker.stop();
}

#[test]
fn a_flag_that_is_none_is_refused() {
    let output = leveret(&["serve", "--sing"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--sing"));
}
