//! The files of the checkout, read once: what git knows, and what it would add.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::rust_text;

/// One file.
pub(super) struct File {
    /// From the root, with `/` between the parts.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) executable: bool,
    /// `None` for what is not UTF-8, and for what is too large to be text that someone wrote.
    pub(super) text: Option<String>,
    /// Rust only: the text with comments, strings and character literals blanked, byte for byte as
    /// long.
    pub(super) code: Option<String>,
}

/// Above this a file is looked at by its size only.
const TEXT_BYTES_MAX: u64 = 4 << 20;

pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Tree> {
        // In CI the checkout may belong to another user, which git minds.
        let output = Command::new("git")
            .current_dir(root)
            .args(["-c", "safe.directory=*"])
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .output()
            .context("running git ls-files")?;
        if !output.status.success() {
            bail!(
                "git ls-files failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        let listing = String::from_utf8(output.stdout).context("a path is not UTF-8")?;
        let mut paths: Vec<&str> = listing
            .split('\0')
            .filter(|path| !path.is_empty())
            .collect();
        paths.sort_unstable();
        paths.dedup();
        let mut files = Vec::new();
        for path in paths {
            files.extend(File::read(root, path)?);
        }
        Ok(Tree { files })
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

impl File {
    /// `None` for a file that was removed but is still in the index, and for links.
    fn read(root: &Path, path: &str) -> Result<Option<File>> {
        let full = root.join(path);
        let Ok(metadata) = fs::symlink_metadata(&full) else {
            return Ok(None);
        };
        if !metadata.is_file() {
            return Ok(None);
        }
        let mut text = None;
        if metadata.len() <= TEXT_BYTES_MAX {
            text =
                String::from_utf8(fs::read(&full).with_context(|| format!("reading {path}"))?).ok();
        }
        let is_rust = path.ends_with(".rs");
        let code = text.as_deref().filter(|_| is_rust).map(rust_text::blanked);
        Ok(Some(File {
            path: path.to_owned(),
            bytes: metadata.len(),
            executable: executable(&metadata),
            text,
            code,
        }))
    }

    /// The last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Test code by where it stands: limits on size are looser there.
    pub(super) fn is_test(&self) -> bool {
        let folders = ["/tests/", "/benches/", "/fuzz_targets/"];
        folders.iter().any(|folder| self.path.contains(folder))
            || self.path.ends_with("tests.rs")
            || self.path.ends_with("test.rs")
    }

    /// Written by a program, which says so in its first lines.
    pub(super) fn is_generated(&self) -> bool {
        let text = self.text.as_deref().unwrap_or_default();
        text.lines().take(8).any(|line| line.contains("@generated"))
    }
}

#[cfg(unix)]
fn executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn executable(_: &fs::Metadata) -> bool {
    true
}
