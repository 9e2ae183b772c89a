//! The socket's side of it: who may connect, how long they may take, how much they may send.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node::catalog::Ticket;
use node::node::Node;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::answer::Broker;
use super::place;
use super::protocol::{CONTROL_SOCKET, Failure, REQUEST_BYTES_MAX, Request, Response};

/// Clients at once; more wait until one of these has been answered.
const CLIENTS_MAX: usize = 32;
/// How long a client may take to send a request, and to read its answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept failed, when file handles ran out for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// See the module. The file goes with it.
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Ours, as the file system sees it.
    user_id: u32,
}

impl Listener {
    /// Makes the socket in a data directory whose lock we hold: what is there of that name belongs to a
    /// broker that is gone.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub fn bind(data_dir: &Path) -> io::Result<Listener> {
        let path = data_dir.join(CONTROL_SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (address, _dir) = place::address(data_dir)?;
        let socket = UnixListener::bind(address)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let user_id = fs::metadata(&path)?.uid();
        Ok(Listener {
            socket,
            path,
            user_id,
        })
    }

    /// Answers clients, for good.
    pub async fn serve(&self, broker: &Arc<Broker>) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.socket.accept(), if clients.len() < CLIENTS_MAX => match accepted {
                    Ok((socket, _)) if self.may_enter(&socket) => {
                        clients.spawn(serve_client(socket, Arc::clone(broker)));
                    }
                    Ok(_) => tracing::warn!("a control client of another user was turned away"),
                    Err(error) => {
                        tracing::warn!("cannot accept a control client: {error}");
                        sleep(ACCEPT_RETRY).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }

    /// The file's mode keeps others out from the moment after it is made; this keeps them out before, too.
    fn may_enter(&self, socket: &UnixStream) -> bool {
        const ROOT: u32 = 0;
        let peer = socket.peer_cred().map(|peer| peer.uid());
        peer.is_ok_and(|uid| uid == self.user_id || uid == ROOT)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that stays behind is replaced at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers one client until it hangs up, falls silent, or sends what is no request.
async fn serve_client(mut socket: UnixStream, broker: Arc<Broker>) {
    let (reader, mut writer) = socket.split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let request = (&mut reader).take(REQUEST_BYTES_MAX as u64);
        let read = timeout(CLIENT_TIMEOUT, { request }.read_until(b'\n', &mut line)).await;
        if !matches!(read, Ok(Ok(bytes)) if bytes > 0) {
            return;
        }
        let parsed = parse(&line);
        let stops = matches!(parsed, Ok(Request::Stop));
        let (response, goes_on) = match parsed {
            Ok(request) => (respond(&broker, request).await, true),
            Err(text) => (Response::Failed(Failure::Invalid(text)), false),
        };
        let mut text = serde_json::to_vec(&response).expect("a response is plain data");
        text.push(b'\n');
        let written = timeout(CLIENT_TIMEOUT, writer.write_all(&text)).await;
        if stops {
            // Not before it is said: the process may be gone a moment later.
            broker.stop.notify_one();
        }
        if !goes_on || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

fn parse(line: &[u8]) -> Result<Request, String> {
    if line.last() != Some(&b'\n') {
        return Err(if line.len() < REQUEST_BYTES_MAX {
            "the request ends before its newline".to_owned()
        } else {
            format!("the request is longer than {REQUEST_BYTES_MAX} bytes")
        });
    }
    serde_json::from_slice(line).map_err(|error| format!("the request cannot be read: {error}"))
}

/// Carries a request out. A change is answered once it is on disk.
async fn respond(broker: &Arc<Broker>, request: Request) -> Response {
    // On a thread of its own: connections are accepted and timers run while a large vhost is deleted.
    let answering = Arc::clone(broker);
    let answer = spawn_blocking(move || answering.answer(request)).await;
    let answer = answer.unwrap_or_else(|_| {
        let text = "the request could not be carried out, see the log".to_owned();
        Err(Failure::Unable(text))
    });
    match answer {
        Err(failure) => Response::Failed(failure),
        Ok(answer) => match wait_until_durable(&broker.node, answer.ticket).await {
            Ok(()) => answer.response,
            Err(text) => Response::Failed(Failure::Unable(text)),
        },
    }
}

async fn wait_until_durable(node: &Node, ticket: Ticket) -> Result<(), String> {
    let woken = Arc::new(Notify::new());
    let wake = Arc::clone(&woken);
    node.catalog
        .wake_when_durable(ticket, Arc::new(move || wake.notify_one()));
    woken.notified().await;
    match node.catalog.failure() {
        Some(failure) if node.catalog.durable() < ticket => {
            Err(format!("the change is not on disk: {failure}"))
        }
        _ => Ok(()),
    }
}
