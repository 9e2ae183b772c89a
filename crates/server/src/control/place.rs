//! Where the control socket is, also when the data directory's path is too long for a socket's address.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::protocol::CONTROL_SOCKET;

/// The longest path that an address of a socket holds, in bytes, on every system we run on.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// A path to the socket that fits an address, and what must stay open while it is used.
pub(super) fn address(data_dir: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data_dir.join(CONTROL_SOCKET);
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((path, None));
    }
    // The kernel's own name for an open directory is always short.
    let dir = File::open(data_dir)?;
    let path = format!("/proc/self/fd/{}/{CONTROL_SOCKET}", dir.as_raw_fd());
    Ok((path.into(), Some(dir)))
}

/// Connects to the broker that keeps its data in `data_dir`.
///
/// # Errors
/// If none listens there, or we may not reach it.
pub fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    let (path, _dir) = address(data_dir)?;
    UnixStream::connect(path)
}
