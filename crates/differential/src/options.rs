//! The words of an `open` step.

use anyhow::{Result, bail};
use probe::{Field, Options, Scanner};

/// Reads `user=guest password=bad capabilities={}` over the defaults.
pub(crate) fn parse_options(text: &str, vhost: &str) -> Result<Options> {
    let mut options = Options {
        vhost: vhost.into(),
        ..Options::default()
    };
    let mut scanner = Scanner::new(text);
    while !scanner.at_end() {
        let key = scanner.word();
        if !scanner.take('=') {
            bail!("no = after {key}");
        }
        match key {
            "properties" => options.properties = scanner.table()?,
            "capabilities" => {
                let table = scanner.table()?;
                options.capabilities = table
                    .iter()
                    .filter(|(_, value)| *value == Field::Bool(true))
                    .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
                    .collect();
            }
            _ => {
                let bytes = scanner.string()?;
                let string = String::from_utf8_lossy(&bytes).into_owned();
                match key {
                    "user" => options.user = string,
                    "password" => options.password = string,
                    "vhost" => options.vhost = string,
                    "mechanism" => options.mechanism = string,
                    "response" => options.response = Some(bytes),
                    "channel_max" => options.channel_max = Some(string.parse()?),
                    "frame_max" => options.frame_max = Some(string.parse()?),
                    "heartbeat" => options.heartbeat_s = string.parse()?,
                    _ => bail!("no option {key}"),
                }
            }
        }
    }
    Ok(options)
}
