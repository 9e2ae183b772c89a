//! A broker process, and the three ways to talk to it: AMQP, `leveret ctl`, signals.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use probe::{Client, Event, Options};

/// The limit on every wait. Long, because the machine may be busy; nothing depends on how long it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// `leveret` with these arguments.
pub(crate) fn leveret(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(arguments).stdin(Stdio::null());
    if arguments.first() == Some(&"serve") && !arguments.contains(&"--http") {
        // The default port is the machine's, and the tests are many.
        command.args(["--http", "none", "--metrics", "none"]);
    }
    command
}

/// Runs `leveret` to its end, which must come by itself.
pub(crate) fn run(arguments: &[&str]) -> Output {
    let child = leveret(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let pid = child.id();
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        signal(pid, "KILL");
        panic!("{arguments:?} does not end");
    };
    output.expect("its output can be read")
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(status.expect("there is a kill command").success());
}

/// A running broker. Killed when dropped.
pub(crate) struct Broker {
    child: Child,
    data_dir: String,
    /// What it says on standard output, a line each; closed when the process ends.
    lines: Receiver<String>,
    /// The first of these lines.
    pub(crate) announcement: String,
    pub(crate) address: SocketAddr,
}

impl Broker {
    /// Starts on a free port of the loopback interface.
    pub(crate) fn start(data_dir: &Path) -> Broker {
        Broker::start_with(data_dir, &["--amqp", "127.0.0.1:0"])
    }

    /// Starts with these arguments besides the data directory.
    pub(crate) fn start_with(data_dir: &Path, arguments: &[&str]) -> Broker {
        let data_dir = data_dir.to_str().expect("temporary paths are text");
        let start = ["serve", "--data-dir", data_dir, "--log-level", "error"];
        let mut child = leveret(&[&start, arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built");
        let output = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        let Ok(announcement) = lines.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            panic!("the broker did not start: {:?}", child.wait());
        };
        let address = announcement
            .split_once(" serves AMQP on ")
            .and_then(|(_, rest)| rest.split([',', ' ']).next())
            .and_then(|address| address.parse().ok());
        Broker {
            child,
            data_dir: data_dir.to_owned(),
            lines,
            address: address.unwrap_or_else(|| panic!("no address in {announcement:?}")),
            announcement,
        }
    }

    // ---- AMQP ----

    /// Opens a connection as `guest` in `/`.
    pub(crate) fn client(&self) -> Client {
        self.client_of("guest", "guest", "/")
    }

    /// Opens a connection.
    pub(crate) fn client_of(&self, user: &str, password: &str, vhost: &str) -> Client {
        let options = login(user, password, vhost);
        Client::open(self.address, &options).unwrap_or_else(|error| panic!("{user}: {error}"))
    }

    /// Why a connection is not opened.
    pub(crate) fn refusal(&self, user: &str, password: &str, vhost: &str) -> String {
        match Client::open(self.address, &login(user, password, vhost)) {
            Ok(_) => panic!("{user} was let into {vhost}"),
            Err(error) => error.to_string(),
        }
    }

    // ---- leveret ctl ----

    /// Runs `leveret ctl` with the words of `line` (`''` for an empty one).
    pub(crate) fn ctl_output(&self, line: &str) -> Output {
        let words = line
            .split_whitespace()
            .map(|word| if word == "''" { "" } else { word });
        let mut arguments = vec!["ctl", "--data-dir", &self.data_dir, "--timeout", "30"];
        arguments.extend(words);
        run(&arguments)
    }

    /// What `leveret ctl -s` prints. It must succeed.
    pub(crate) fn ctl(&self, line: &str) -> String {
        let output = self.ctl_output(&format!("-s {line}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {output:?}");
        text
    }

    /// The code and the text with which `leveret ctl` fails.
    pub(crate) fn ctl_failure(&self, line: &str) -> (i32, String) {
        let output = self.ctl_output(&format!("-s {line}"));
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        (output.status.code().expect("no signal ended it"), text)
    }

    /// Bytes of memory that the process holds.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let text = std::fs::read_to_string(path).expect("it runs");
        let pages = text.split_whitespace().nth(1).and_then(|n| n.parse().ok());
        pages.map(|pages: u64| pages * 4096).expect("a number")
    }

    // ---- the end ----

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        // Its end closes the pipe.
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            eprintln!("more on standard output: {line}");
        }
        let ended = self.child.try_wait().expect("it is our child");
        ended.unwrap_or_else(|| {
            let ended = self.child.wait();
            ended.expect("it is our child")
        })
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(self) {
        self.signal("TERM");
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// Takes it down in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn login(user: &str, password: &str, vhost: &str) -> Options {
    Options {
        user: user.to_owned(),
        password: password.to_owned(),
        vhost: vhost.to_owned(),
        ..Options::default()
    }
}

/// Calls a method on channel 1 and says what the broker answered.
pub(crate) fn call(client: &mut Client, method: &str) -> String {
    let answer = client.call(1, method);
    answer.map_or_else(|| "nothing".to_owned(), |event| said(&event))
}

/// The event without its channel; of a close, only the code and the text.
pub(crate) fn said(event: &Event) -> String {
    match event.method() {
        Some(method) if method.name.ends_with(".close") => {
            format!(
                "{} {}",
                method.number("reply_code"),
                method.text("reply_text")
            )
        }
        Some(method) => method.to_string(),
        None => event.to_string(),
    }
}

/// Waits for a method by its name.
pub(crate) fn expect(client: &mut Client, name: &str) -> Event {
    let found = client.wait_for(
        |event| event.name() == name || matches!(event, Event::Eof(_)),
        PATIENCE,
    );
    match found {
        Some(event) if event.name() == name => event,
        other => panic!("instead of {name}: {other:?}"),
    }
}

/// Answers `connection.close` and waits for the end of the socket.
pub(crate) fn farewell(client: &mut Client) -> String {
    let close = expect(client, "connection.close");
    client
        .send(0, "connection.close-ok", b"")
        .expect("the socket is still open");
    let end = client.wait_for(|event| matches!(event, Event::Eof(_)), PATIENCE);
    assert!(end.is_some(), "the socket stays open after close-ok");
    said(&close)
}
