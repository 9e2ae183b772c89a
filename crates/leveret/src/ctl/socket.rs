//! One request over the control socket.

use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use server::control::connect;
use server::control::protocol::{CONTROL_SOCKET, Request, Response};

use super::line::Line;
use super::{Refusal, exit};

/// Sends the request and waits for the answer, as long as `--timeout` allows.
pub(super) fn ask(line: &Line, request: &Request) -> Result<Response, Refusal> {
    let path = line.data_dir.join(CONTROL_SOCKET);
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Refusal::new(
            exit::TEMPFAIL,
            format!(
                "Error: operation {} timed out. Timeout value used: {}",
                line.verb.name,
                line.timeout_s.unwrap_or_default() * 1000
            ),
        ),
        _ => unreachable_broker(&path.display().to_string(), &error.to_string()),
    };
    let stream = connect(&line.data_dir).map_err(failed)?;
    let timeout = line
        .timeout_s
        .filter(|&seconds| seconds > 0)
        .map(Duration::from_secs);
    stream.set_read_timeout(timeout).map_err(failed)?;
    exchange(stream, request).map_err(failed)
}

/// Sends the request over an open socket and reads the answer.
pub(crate) fn exchange(mut stream: UnixStream, request: &Request) -> std::io::Result<Response> {
    let mut text = serde_json::to_vec(request).expect("a request is plain data");
    text.push(b'\n');
    stream.write_all(&text)?;
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

fn unreachable_broker(path: &str, cause: &str) -> Refusal {
    let text = format!(
        "Error: unable to perform an operation on the broker behind {path}: {cause}\n\n\
         Most common reasons for this are:\n\n \
         * The broker is not running\n \
         * It keeps its data elsewhere: say where with --data-dir\n \
         * It runs as another user: run this command as that user, or as root"
    );
    Refusal::new(exit::UNAVAILABLE, text)
}
