//! The text that Prometheus reads (exposition format 0.0.4).

use std::fmt::Write as _;

use node::counters::{BUCKETS_US, Counted};

/// What a metric's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A sign that something is so.
    Untyped,
    /// Counts by size.
    Histogram,
}

/// A page of metrics.
pub(super) struct Page {
    prefix: &'static str,
    text: String,
}

impl Page {
    /// An empty page whose metrics are called `prefix` and their names.
    pub(super) fn new(prefix: &'static str) -> Self {
        let text = String::new();
        Page { prefix, text }
    }

    /// Begins a family of samples.
    pub(super) fn begin(&mut self, name: &str, kind: Kind, help: &str) {
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
            Kind::Histogram => "histogram",
        };
        let (text, prefix) = (&mut self.text, self.prefix);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "# TYPE {prefix}{name} {word}\n# HELP {prefix}{name} {help}"
        );
    }

    /// A sample of the family begun last; its labels without braces.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: f64) {
        self.text.push_str(self.prefix);
        self.text.push_str(name);
        if !labels.is_empty() {
            let _ = write!(self.text, "{{{labels}}}");
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A family of one sample without labels.
    pub(super) fn one(&mut self, name: &str, kind: Kind, help: &str, value: f64) {
        self.begin(name, kind, help);
        self.sample(name, "", value);
    }

    /// A family of counts of durations, in seconds.
    pub(super) fn histogram(&mut self, name: &str, help: &str, counted: &Counted) {
        let ends = BUCKETS_US.map(|end_us| end_us as f64 / 1e6);
        let counted = (&counted.buckets[..], counted.sum_us as f64 / 1e6);
        self.buckets(name, help, &[], ends, counted);
    }

    /// A family of counts by size: where the buckets end, how many are in each and in the one behind them, and what
    /// all of them come to.
    pub(super) fn buckets<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        of: &[(&str, &str)],
        ends: [f64; N],
        (counts, sum): (&[u64], f64),
    ) {
        self.begin(name, Kind::Histogram, help);
        let bucket = format!("{name}_bucket");
        let mut so_far = 0;
        let mut ends = ends.iter();
        for count in counts {
            so_far += count;
            let end = ends.next().map_or("+Inf".to_owned(), f64::to_string);
            let labels = labels(&[of, &[("le", &end)]].concat());
            self.sample(&bucket, &labels, so_far as f64);
        }
        let labels = labels(of);
        self.sample(&format!("{name}_sum"), &labels, sum);
        self.sample(&format!("{name}_count"), &labels, so_far as f64);
    }

    /// Metrics from here on have another prefix.
    pub(super) fn rename(&mut self, prefix: &'static str) {
        self.prefix = prefix;
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Labels, their values escaped.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        for letter in value.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                letter => out.push(letter),
            }
        }
        out.push('"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(
            labels(&[("vhost", "/"), ("queue", "a\"b\\c\nd")]),
            "vhost=\"/\",queue=\"a\\\"b\\\\c\\nd\""
        );
    }
}
