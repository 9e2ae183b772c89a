//! What was measured: for the eye, as JSON, as a page.

use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::html;
use crate::meter::{Counts, Latencies};
use crate::options::Target;
use crate::process::Usage;

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) mode: &'static str,
    /// As it calls itself.
    pub(crate) broker: String,
    /// What was asked for, in the words of the command line.
    pub(crate) options: Vec<(String, String)>,
    pub(crate) phases: Vec<Phase>,
}

/// A part of a run that is measured by itself.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// What is counted: `message`, `delivery`, `connection` ...
    pub(crate) unit: &'static str,
    pub(crate) seconds: f64,
    /// How many.
    pub(crate) count: u64,
    pub(crate) per_second: f64,
    pub(crate) counts: Counted,
    /// From publish to delivery, or of an operation.
    pub(crate) latency_us: Option<Percentiles>,
    /// From publish to confirm.
    pub(crate) confirm_us: Option<Percentiles>,
    pub(crate) broker: Option<Cost>,
    pub(crate) generator: Cost,
    /// Memory of the broker that each unit took, where that is what is measured.
    pub(crate) broker_bytes_per_unit: Option<f64>,
    pub(crate) series: Vec<Point>,
}

/// Messages by what happened to them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Counted {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) nacked: u64,
    pub(crate) returned: u64,
    pub(crate) delivered: u64,
    pub(crate) operations: u64,
}

/// What it cost a process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    /// CPU time for each of the phase's units.
    pub(crate) cpu_ns_per_unit: f64,
    /// In memory when the phase began and when it ended.
    pub(crate) resident_bytes_before: u64,
    pub(crate) resident_bytes_after: u64,
    /// At the peak, since the process began.
    pub(crate) peak_bytes: u64,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// A second of a phase.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Point {
    /// Seconds since the phase began.
    pub(crate) at: f64,
    pub(crate) published_per_second: f64,
    pub(crate) delivered_per_second: f64,
    pub(crate) operations_per_second: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) broker_cpu_cores: Option<f64>,
    pub(crate) broker_resident_bytes: Option<u64>,
}

impl From<Counts> for Counted {
    fn from(counts: Counts) -> Counted {
        Counted {
            published: counts.published,
            confirmed: counts.confirmed,
            nacked: counts.nacked,
            returned: counts.returned,
            delivered: counts.delivered,
            operations: counts.operations,
        }
    }
}

impl Percentiles {
    /// Of latencies in ns; `None` if there are none.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Percentiles> {
        let us = |ns: u64| ns as f64 / 1000.0;
        (!histogram.is_empty()).then(|| Percentiles {
            count: histogram.len(),
            min: us(histogram.min()),
            mean: histogram.mean() / 1000.0,
            p50: us(histogram.value_at_quantile(0.5)),
            p90: us(histogram.value_at_quantile(0.9)),
            p99: us(histogram.value_at_quantile(0.99)),
            p999: us(histogram.value_at_quantile(0.999)),
            max: us(histogram.max()),
        })
    }
}

impl Cost {
    /// Between two looks at a process, for `count` units.
    pub(crate) fn between(before: &Usage, after: &Usage, count: u64) -> Cost {
        let cpu = after.cpu.saturating_sub(before.cpu);
        Cost {
            cpu_seconds: cpu.as_secs_f64(),
            cpu_ns_per_unit: cpu.as_nanos() as f64 / count.max(1) as f64,
            resident_bytes_before: before.resident_bytes,
            resident_bytes_after: after.resident_bytes,
            peak_bytes: after.peak_bytes,
        }
    }
}

/// What a phase is made of once it is over.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    pub(crate) counts: Counts,
    pub(crate) latencies: Latencies,
    pub(crate) broker: Option<(Usage, Usage)>,
    pub(crate) generator: (Usage, Usage),
    pub(crate) series: Vec<Point>,
}

impl From<Measured> for Phase {
    fn from(measured: Measured) -> Phase {
        let seconds = measured.elapsed.as_secs_f64();
        let count = measured.count;
        Phase {
            name: measured.name,
            unit: measured.unit,
            seconds,
            count,
            per_second: count as f64 / seconds.max(1e-9),
            counts: measured.counts.into(),
            latency_us: Percentiles::of(&measured.latencies.main),
            confirm_us: Percentiles::of(&measured.latencies.confirm),
            broker: measured
                .broker
                .map(|(before, after)| Cost::between(&before, &after, count)),
            generator: Cost::between(&measured.generator.0, &measured.generator.1, count),
            broker_bytes_per_unit: None,
            series: measured.series,
        }
    }
}

impl Report {
    /// Shows it, and writes the files that were asked for.
    pub(crate) fn publish(&self, target: &Target) -> Result<()> {
        for phase in &self.phases {
            print(&phase.summary());
        }
        if let Some(path) = &target.json {
            let json = serde_json::to_string_pretty(self)? + "\n";
            std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
        }
        if let Some(path) = &target.html {
            let page = html::page(self);
            std::fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

impl Phase {
    /// Tells also how much memory of the broker each unit took.
    pub(crate) fn with_memory(mut self) -> Phase {
        self.broker_bytes_per_unit = self.broker.map(|broker| {
            let grown = broker.resident_bytes_after as f64 - broker.resident_bytes_before as f64;
            grown / self.count.max(1) as f64
        });
        self
    }

    /// A few lines for the eye.
    pub(crate) fn summary(&self) -> String {
        let mut text = format!(
            "{}: {} {} in {:.2} s, {}/s\n",
            self.name,
            grouped(self.count),
            plural(self.unit),
            self.seconds,
            grouped(self.per_second as u64)
        );
        let counts = &self.counts;
        if counts.nacked + counts.returned > 0 {
            text += &format!(
                "  not taken: {} nacked, {} returned\n",
                grouped(counts.nacked),
                grouped(counts.returned)
            );
        }
        for (name, percentiles) in [("latency", &self.latency_us), ("confirm", &self.confirm_us)] {
            if let Some(p) = percentiles {
                text += &format!(
                    "  {name}: p50 {:.0} us, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}\n",
                    p.p50, p.p90, p.p99, p.p999, p.max
                );
            }
        }
        if let Some(broker) = &self.broker {
            text += &format!(
                "  broker: {:.0} ns CPU a {}, {:.2} cores, {:.1} MiB (peak {:.1} MiB)\n",
                broker.cpu_ns_per_unit,
                self.unit,
                broker.cpu_seconds / self.seconds.max(1e-9),
                mib(broker.resident_bytes_after),
                mib(broker.peak_bytes)
            );
        }
        if let Some(bytes) = self.broker_bytes_per_unit {
            text += &format!("  memory: {:.1} KiB a {}\n", bytes / 1024.0, self.unit);
        }
        text += &format!(
            "  generator: {:.0} ns CPU a {}, {:.2} cores\n",
            self.generator.cpu_ns_per_unit,
            self.unit,
            self.generator.cpu_seconds / self.seconds.max(1e-9)
        );
        text
    }
}

/// Several of a unit.
pub(crate) fn plural(unit: &str) -> String {
    match unit.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{unit}s"),
    }
}

/// Mebibytes.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// To standard output: it is what the user asked for.
#[allow(clippy::print_stdout, reason = "a command speaks to its user")]
pub(crate) fn print(text: &str) {
    print!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_their_plural() {
        assert_eq!(plural("message"), "messages");
        assert_eq!(plural("delivery"), "deliveries");
    }

    #[test]
    fn digits_stand_in_groups() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }
}
