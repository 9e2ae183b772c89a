//! `leveret import`: brings the definitions of a running RabbitMQ, or of a file, into a broker.
//!
//! A broker that runs on the data directory is told over its control socket; if none does, the directory is
//! written directly, and the broker finds everything when it starts. Messages are not copied.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::Engine as _;
use metadata::definitions::Definitions;
use node::administration::Act;
use node::node::Node;
use node::settings::Settings;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use server::control::connect;
use server::control::parameters::ParameterRequest;
use server::control::protocol::{Request, Response};
use server::fetch::Client;

use crate::ctl::socket::exchange;

/// Where the data is unless `--data-dir` says otherwise; the same as for `leveret serve`.
const DATA_DIR: &str = "leveret-data";
/// How long the other broker may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Flags of `leveret import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A file of definitions, as RabbitMQ exports them.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    file: Option<PathBuf>,
    /// The management API of a running RabbitMQ.
    #[arg(long, value_name = "http[s]://USER:PASSWORD@HOST:15672")]
    from: Option<String>,
    /// Whom https believes: certificates of authorities, in PEM [default: the system's].
    #[arg(long, value_name = "FILE", requires = "from")]
    cacertfile: Option<PathBuf>,
    /// Data directory of the broker to import into [default: leveret-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let text = match (&arguments.from, &arguments.file) {
        (Some(url), _) => fetch(url, arguments.cacertfile.as_deref())?,
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?,
        (None, None) => bail!("say what to import: a file, or --from"),
    };
    let document: Value = serde_json::from_str(&text).context("these are no definitions")?;
    let data_dir = arguments.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR));
    let (warnings, refused) = match connect(data_dir) {
        Ok(stream) => tell(stream, document)?,
        Err(_) => write(data_dir, &document)?,
    };
    report(&warnings, &refused)
}

/// The definitions of a broker whose management API is at `url`. Over https its certificate is checked.
fn fetch(url: &str, cacertfile: Option<&Path>) -> Result<String> {
    let Source { address, login } = Source::parse(url)?;
    let client = Client::new(cacertfile, ANSWER_TIMEOUT).map_err(|error| anyhow!(error))?;
    let authorization = login.map(|login| {
        let login = base64::engine::general_purpose::STANDARD.encode(login);
        format!("Basic {login}")
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let definitions = format!("{address}/api/definitions");
    let answer = runtime.block_on(client.definitions(&definitions, authorization));
    let answer = answer.map_err(|error| anyhow!(error))?;
    String::from_utf8(answer.to_vec()).context("the answer is no text")
}

/// An address without the user and password that stood in it.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    address: String,
    /// `user:password`, decoded.
    login: Option<String>,
}

impl Source {
    fn parse(url: &str) -> Result<Source> {
        let wrong = || anyhow!("--from: expected http[s]://USER:PASSWORD@HOST:15672");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        if !["http", "https"].contains(&scheme) {
            return Err(wrong());
        }
        let (login, host) = match rest.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, rest),
        };
        if host.is_empty() {
            return Err(wrong());
        }
        let decode = |login: &str| percent_decode_str(login).decode_utf8().map(String::from);
        Ok(Source {
            address: format!("{scheme}://{}", host.trim_end_matches('/')),
            login: login.map(decode).transpose().context("--from")?,
        })
    }
}

type Outcome = (Vec<String>, Vec<String>);

/// Imports into a running broker.
fn tell(stream: std::os::unix::net::UnixStream, document: Value) -> Result<Outcome> {
    let request = Request::Parameter(ParameterRequest::ImportDefinitions { document });
    match exchange(stream, &request).context("the broker does not answer")? {
        Response::Imported { warnings, refused } => Ok((warnings, refused)),
        Response::Failed(failure) => bail!("nothing was imported: {failure:?}"),
        other => bail!("the broker answers {other:?}"),
    }
}

/// Imports into the data directory of a broker that does not run.
fn write(data_dir: &Path, document: &Value) -> Result<Outcome> {
    let definitions = Definitions::parse(document, None).context("nothing was imported")?;
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot make {}", data_dir.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now_ms = u64::try_from(now.as_millis())?;
    let node = Node::open(Settings::default(), data_dir, now_ms)?;
    let act = Act {
        by: "rmq-cli",
        now_ms,
    };
    let imported = node.import_definitions(act, definitions);
    node.stop().context("the message log was not closed")?;
    // Closing writes what waits.
    node.catalog.close();
    if node.catalog.durable() < imported.ticket {
        let failure = node
            .catalog
            .failure()
            .unwrap_or_else(|| "the disk failed".into());
        bail!("what was imported is not on disk: {failure}");
    }
    Ok((imported.warnings, imported.refused))
}

#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the binary talks to its user"
)]
fn report(warnings: &[String], refused: &[String]) -> Result<()> {
    for warning in warnings {
        println!("Warning: {warning}");
    }
    if refused.is_empty() {
        println!("The definitions were imported.");
        return Ok(());
    }
    for refusal in refused {
        eprintln!("{refusal}");
    }
    bail!("these were not imported, everything else was")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_taken_out_of_the_address() {
        let parse = |url: &str| Source::parse(url).unwrap();
        assert_eq!(
            parse("http://ann:p%40ss@old:15672/"),
            Source {
                address: "http://old:15672".to_owned(),
                login: Some("ann:p@ss".to_owned()),
            }
        );
        assert_eq!(parse("http://old:15672/prefix").login, None);
        for wrong in ["old:15672", "amqp://old", "http://", "http://ann:x@"] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stopped_brokers_directory_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("data");
        let document = serde_json::json!({"vhosts": [{"name": "v"}], "hares": 1,
            "queues": [{"name": "q", "vhost": "v"}, {"name": "q", "vhost": "nope"}]});
        let (warnings, refused) = write(&data_dir, &document).unwrap();
        assert_eq!(warnings, ["unknown key 'hares' was ignored"]);
        assert_eq!(
            refused,
            ["queue 'q' in vhost 'nope': vhost 'nope' not found"]
        );
        let node = Node::open(Settings::default(), &data_dir, 0).unwrap();
        assert!(node.vhost("v").unwrap().find_queue("q").is_ok());
    }
}
