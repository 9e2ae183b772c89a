//! Makes two brokers' words comparable, and nothing more than that.
//!
//! Replaced: the sequence's prefix by `%`, the vhost in texts by `/`, names the broker invents
//! (`amq.gen-`, `amq.ctag-`, `amq.rabbitmq.reply-to.`) by `$gen1`, `$ctag1`, `$reply1` in order of
//! appearance, the time in x-death, and what a broker says of its make in its server properties. Headers are sorted by key, because a broker that has added
//! one may have written them in any order.

use probe::{Event, Field, Value};
use regex::Regex;

/// Server properties that say which product this is.
const BRANDED: [&str; 6] = [
    "cluster_name",
    "copyright",
    "information",
    "platform",
    "product",
    "version",
];

/// The names one broker invented, and the prefix and vhost of this run.
pub(crate) struct Names {
    prefix: String,
    vhost: String,
    invented: [(&'static str, Regex, Vec<String>); 3],
}

impl Names {
    /// No names yet.
    pub(crate) fn new(prefix: &str, vhost: &str) -> Self {
        let regex = |text: &str| Regex::new(text).expect("a constant expression");
        Self {
            prefix: prefix.into(),
            vhost: vhost.into(),
            invented: [
                ("$gen", regex(r"amq\.gen-[A-Za-z0-9_+/=-]+"), Vec::new()),
                ("$ctag", regex(r"amq\.ctag-[A-Za-z0-9_+/=-]+"), Vec::new()),
                (
                    "$reply",
                    regex(r"amq\.rabbitmq\.reply-to\.[A-Za-z0-9_+/=.-]+"),
                    Vec::new(),
                ),
            ],
        }
    }

    /// Puts real names where a script has `%` and `$gen1`.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut text = text.replace('%', &self.prefix);
        for (word, _, known) in &self.invented {
            for (index, name) in known.iter().enumerate().rev() {
                text = text.replace(&format!("{word}{}", index + 1), name);
            }
        }
        text
    }

    /// Puts comparable words where a broker has its own.
    pub(crate) fn fold(&mut self, text: &str) -> String {
        let mut text = text.replace(&self.prefix, "%");
        if self.vhost != "/" {
            text = text.replace(&format!("vhost '{}'", self.vhost), "vhost '/'");
        }
        for (word, regex, known) in &mut self.invented {
            let found: Vec<String> = regex.find_iter(&text).map(|m| m.as_str().into()).collect();
            for name in found {
                let index = known.iter().position(|n| *n == name).unwrap_or_else(|| {
                    known.push(name.clone());
                    known.len() - 1
                });
                text = text.replace(&name, &format!("{word}{}", index + 1));
            }
        }
        text
    }

    /// An event in comparable words; `mask_tag` leaves its delivery tag out.
    pub(crate) fn normal(&mut self, event: &Event, mask_tag: bool) -> String {
        let mut event = event.clone();
        if let (true, Event::Content { method, .. }) = (mask_tag, &mut event)
            && method.field("delivery_tag").is_some()
        {
            *method = method.clone().with("delivery_tag", 0);
        }
        if let Event::Method { method, .. } = &mut event
            && let Some(Value::Table(mut properties)) = method.field("server_properties").cloned()
        {
            let branded = |key: &[u8]| BRANDED.iter().any(|name| name.as_bytes() == key);
            for (_, value) in properties.iter_mut().filter(|(key, _)| branded(key)) {
                *value = Field::from("*");
            }
            *method = method.clone().with("server_properties", properties);
        }
        // RabbitMQ closes with a reset (linger 0), others with an orderly end.
        if matches!(event, Event::Eof(_)) {
            event = Event::Eof(false);
        }
        if let Event::Content { properties, .. } = &mut event
            && let Some(headers) = properties.headers_mut()
        {
            headers.sort_by(|left, right| left.0.cmp(&right.0));
            headers
                .iter_mut()
                .filter(|(key, _)| key == b"x-death")
                .for_each(|(_, v)| mask_death(v));
        }
        self.fold(&event.to_string())
    }
}

/// Sets the time of each death to 0, after all other things were left as they are.
fn mask_death(deaths: &mut Field) {
    let Field::Array(deaths) = deaths else { return };
    for death in deaths {
        let Field::Table(table) = death else { continue };
        table.sort_by(|left, right| left.0.cmp(&right.0));
        for (_, value) in table.iter_mut().filter(|(key, _)| key == b"time") {
            if let Field::Timestamp(seconds) = value {
                *seconds = u64::from(*seconds > 1_600_000_000);
            }
        }
    }
}
