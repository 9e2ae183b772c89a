//! Definitions that the configuration names, imported before the first client comes.

use std::fs;
use std::path::{Path, PathBuf};

use metadata::definitions::Definitions;
use node::administration::Act;
use node::events::INTERNAL_USER;
use node::node::Node;

/// Why definitions were not imported: which file, and what is wrong.
#[derive(Debug, thiserror::Error)]
#[error("cannot import definitions from {}: {reason}", path.display())]
pub struct LoadError {
    path: PathBuf,
    reason: String,
}

/// Imports a file, or all files of a directory that end in `.json`, by name. What the broker does not have is left
/// out with a warning in the log.
///
/// # Errors
/// If a file cannot be read or something in it is refused; what came before is there, as in RabbitMQ.
pub(crate) fn load(node: &Node, path: &Path, now_ms: u64) -> Result<(), LoadError> {
    let failed = |path: &Path, reason: String| LoadError {
        path: path.to_owned(),
        reason,
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = fs::read_dir(path).map_err(|error| failed(path, error.to_string()))?;
        let entries = entries.filter_map(Result::ok).map(|entry| entry.path());
        files = entries
            .filter(|file| file.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
    }
    for file in files {
        let failed = |reason: String| failed(&file, reason);
        let text = fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
        let document = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        let definitions = Definitions::parse(&document, None);
        let definitions = definitions.map_err(|error| failed(error.to_string()))?;
        let act = Act {
            by: INTERNAL_USER,
            now_ms,
        };
        let imported = node.import_definitions(act, definitions);
        for warning in &imported.warnings {
            tracing::warn!(file = %file.display(), "definitions: {warning}");
        }
        if !imported.refused.is_empty() {
            return Err(failed(imported.refused.join("; ")));
        }
        tracing::info!(file = %file.display(), "definitions were imported");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use node::settings::Settings;

    use super::*;

    fn load_files(files: &[(&str, &str)]) -> (std::sync::Arc<Node>, Result<(), String>) {
        let node = Node::in_memory(Settings::default(), 0);
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let loaded = load(&node, directory.path(), 0);
        let loaded = loaded.map_err(|error| error.reason);
        (node, loaded)
    }

    #[test]
    fn the_files_of_a_directory_are_imported_by_name() {
        let (node, loaded) = load_files(&[
            ("2.json", r#"{"queues": [{"name": "q", "vhost": "v"}]}"#),
            ("1.json", r#"{"vhosts": [{"name": "v"}]}"#),
            ("readme.txt", "not looked at"),
        ]);
        assert_eq!(loaded, Ok(()));
        assert!(node.vhost("v").unwrap().find_queue("q").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let refused = |text: &str| load_files(&[("d.json", text)]).1.unwrap_err();
        assert!(refused("{").starts_with("EOF while parsing"));
        assert_eq!(refused(r#"{"users": 1}"#), "'users' is no list");
        assert_eq!(
            refused(r#"{"queues": [{"name": "q", "vhost": "v"}]}"#),
            "queue 'q' in vhost 'v': vhost 'v' not found"
        );
        let node = Node::in_memory(Settings::default(), 0);
        let missing = load(&node, Path::new("/nonexistent/d.json"), 0).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "cannot import definitions from /nonexistent/d.json: No such file or directory (os error 2)"
        );
    }
}
