//! Verbs that export and import definitions: the file is this program's, the rest is the broker's.

use std::io::Read as _;

use server::control::parameters::ParameterRequest;
use server::control::protocol::{Request, Response};

use super::{Act, PLAIN, Switch, Verb};
use crate::ctl::line::Line;
use crate::ctl::{Refusal, exit};

const FORMAT: Switch = Switch::value("format");
const SKIP_IF_UNCHANGED: Switch = Switch::flag("skip-if-unchanged");

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "export_definitions",
        usage: "<file_path | \"-\"> [--format json]",
        arguments: (1, 1),
        switches: &[FORMAT],
        check: check_format,
        banner: |line| match line.argument(0).as_str() {
            "-" => String::new(),
            path => format!("Exporting definitions in JSON to a file at \"{path}\" ..."),
        },
        act: Act::Do {
            request: |_| Ok(Request::Parameter(ParameterRequest::ExportDefinitions)),
            render: write_export,
        },
        ..PLAIN
    },
    Verb {
        name: "import_definitions",
        usage: "[<file_path>] [--format json] [--skip-if-unchanged]",
        arguments: (0, 1),
        switches: &[FORMAT, SKIP_IF_UNCHANGED],
        check: |line| {
            check_format(line)?;
            let path = line.argument(0);
            match is_stdin(&path) || std::path::Path::new(&path).exists() {
                true => Ok(()),
                false => Err(format!("File {path} does not exist")),
            }
        },
        banner: |line| match line.argument(0) {
            path if is_stdin(&path) => {
                "Importing definitions in JSON from standard input ...".to_owned()
            }
            path => format!("Importing definitions in JSON from a file at \"{path}\" ..."),
        },
        act: Act::Do {
            request: read_import,
            render: |_, response| imported(response),
        },
        ..PLAIN
    },
];

fn is_stdin(path: &str) -> bool {
    path.is_empty() || path == "-"
}

fn check_format(line: &Line) -> Result<(), String> {
    match line.option("format").unwrap_or("json") {
        "json" | "JSON" => Ok(()),
        other => Err(format!(
            "the format {other} is not supported: definitions are JSON"
        )),
    }
}

fn write_export(line: &Line, response: Response) -> Result<String, Refusal> {
    let Response::Json(document) = response else {
        return Ok(String::new());
    };
    let path = line.argument(0);
    if path == "-" {
        return Ok(format!("{document}\n"));
    }
    // Password hashes are in it: for its owner's eyes.
    let written =
        crate::secret_file::write(std::path::Path::new(&path), document.to_string().as_bytes());
    written.map_err(|error| {
        let text = format!("Error:\nFailed to write to file {path}: {error}");
        Refusal::new(exit::DATAERR, text)
    })?;
    Ok(String::new())
}

fn read_import(line: &Line) -> Result<Request, Refusal> {
    let path = line.argument(0);
    let text = match is_stdin(&path) {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(&path),
    };
    let failed = |text: String| Refusal::new(exit::DATAERR, format!("Error:\n{text}"));
    let text = text.map_err(|error| failed(format!("Failed to read {path}: {error}")))?;
    let document = serde_json::from_str(&text)
        .map_err(|error| failed(format!("Failed to parse definitions: {error}")))?;
    Ok(Request::Parameter(ParameterRequest::ImportDefinitions {
        document,
    }))
}

/// What is said of an import: a line for each thing that was left out. Refused items are a failure.
pub(in crate::ctl) fn imported(response: Response) -> Result<String, Refusal> {
    let Response::Imported { warnings, refused } = response else {
        return Ok(String::new());
    };
    let mut text = String::new();
    for warning in warnings {
        text.push_str(&format!("Warning: {warning}\n"));
    }
    if refused.is_empty() {
        return Ok(text);
    }
    text.push_str("Error:\nThese were not imported, everything else was:\n");
    for refusal in refused {
        text.push_str(&format!("{refusal}\n"));
    }
    Err(Refusal::new(exit::SOFTWARE, text.trim_end()))
}
