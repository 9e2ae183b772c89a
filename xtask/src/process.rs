//! Running other programs: where the workspace is, cargo, and a command whose output is both shown
//! and kept.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The root of the workspace. From the environment first: a checkout that was moved keeps its built
/// xtask.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    PathBuf::from(package)
        .parent()
        .expect("the xtask package stands in a folder of the workspace")
        .to_path_buf()
}

/// A cargo command in the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root()).args(arguments);
    command
}

/// What `cargo metadata` says of the workspace's own packages. Asked once: it takes a tenth of a
/// second.
pub(crate) fn metadata() -> Result<&'static Value> {
    static METADATA: OnceLock<Value> = OnceLock::new();
    if let Some(known) = METADATA.get() {
        return Ok(known);
    }
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .stderr(Stdio::inherit())
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    let value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    Ok(METADATA.get_or_init(|| value))
}

/// Cargo's target folder, wherever the environment or a configuration put it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    let path = metadata["target_directory"].as_str();
    Ok(PathBuf::from(
        path.context("cargo metadata names no target directory")?,
    ))
}

/// Runs a command, showing its output, and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("cannot run {}: {error}", command.get_program().display());
            false
        }
    }
}

/// Runs a command, showing its output as it comes, and returns all of it as text without colours.
pub(crate) fn run_and_keep(command: &mut Command) -> Result<(ExitStatus, String)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    let stdout = child.stdout.take().expect("stdout was asked for as a pipe");
    let stderr = child.stderr.take().expect("stderr was asked for as a pipe");
    let reader = thread::spawn(move || show_and_keep(stdout, std::io::stdout()));
    let mut text = show_and_keep(stderr, std::io::stderr());
    text.push_str(&reader.join().expect("show_and_keep does not panic"));
    Ok((child.wait()?, text))
}

fn show_and_keep(source: impl Read, mut screen: impl Write) -> String {
    let mut source = BufReader::new(source);
    let mut kept = String::new();
    let mut line = Vec::new();
    // A line that cannot be read or shown ends the reading; the exit code still tells how the
    // program fared.
    while matches!(source.read_until(b'\n', &mut line), Ok(bytes) if bytes > 0) {
        if screen.write_all(&line).is_err() {
            break;
        }
        kept.push_str(&without_colours(&String::from_utf8_lossy(&line)));
        line.clear();
    }
    kept
}

/// Text without the escape sequences that terminals colour by.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // `ESC [ ... letter`
            let _ = characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colours("a\u{1b}[32;1mgreen\u{1b}[0m b"), "agreen b");
    }
}
