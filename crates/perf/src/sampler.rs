//! Reads the meters and the broker's process once a second, and makes a phase of them in the end.

use std::time::{Duration, Instant};

use crate::meter::{Counts, Latencies};
use crate::options::Target;
use crate::process::{self, Usage};
use crate::report::{Measured, Percentiles, Phase, Point, grouped, mib};
use crate::workers::Workers;

/// Between two lines.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
pub(crate) struct Sampler<'w> {
    name: &'static str,
    workers: &'w Workers,
    broker_pid: Option<u32>,
    quiet: bool,
    started: Instant,
    at_start: Counts,
    broker_at_start: Option<Usage>,
    generator_at_start: Usage,
    last: Instant,
    last_counts: Counts,
    last_broker: Option<Usage>,
    latencies: Latencies,
    series: Vec<Point>,
}

impl<'w> Sampler<'w> {
    /// A phase begins.
    pub(crate) fn start(name: &'static str, workers: &'w Workers, target: &Target) -> Sampler<'w> {
        // What came before is not part of it.
        workers
            .meters()
            .for_each(|meter| meter.take_latencies(&mut Latencies::default()));
        let counts = Counts::of(workers.meters());
        Sampler::start_at(name, workers, target, counts)
    }

    fn start_at(
        name: &'static str,
        workers: &'w Workers,
        target: &Target,
        counts: Counts,
    ) -> Sampler<'w> {
        let broker = target.broker_pid.and_then(process::usage);
        let started = Instant::now();
        Sampler {
            name,
            workers,
            broker_pid: target.broker_pid,
            quiet: target.quiet,
            started,
            at_start: counts,
            broker_at_start: broker,
            generator_at_start: process::own_usage(),
            last: started,
            last_counts: counts,
            last_broker: broker,
            latencies: Latencies::default(),
            series: Vec::new(),
        }
    }

    /// A phase that began when the meters were new, and is over already.
    pub(crate) fn resume(name: &'static str, workers: &'w Workers, target: &Target) -> Sampler<'w> {
        let mut sampler = Sampler::start_at(name, workers, target, Counts::default());
        sampler.started = workers.started();
        sampler
    }

    /// Counts since the phase began.
    pub(crate) fn counts(&self) -> Counts {
        Counts::of(self.workers.meters()).since(&self.at_start)
    }

    /// Since the phase began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A point, if it is time for one.
    pub(crate) fn sample_if_due(&mut self) {
        if self.last.elapsed() >= INTERVAL {
            self.sample();
        }
    }

    fn sample(&mut self) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let counts = Counts::of(self.workers.meters());
        let new = counts.since(&self.last_counts);
        self.last_counts = counts;
        let mut latencies = Latencies::default();
        for meter in self.workers.meters() {
            meter.take_latencies(&mut latencies);
        }
        self.latencies.add(&latencies);
        let percentiles =
            Percentiles::of(&latencies.main).or_else(|| Percentiles::of(&latencies.confirm));
        let broker = self.broker_pid.and_then(process::usage);
        let cpu = match (&self.last_broker, &broker) {
            (Some(before), Some(after)) => Some(after.cpu.saturating_sub(before.cpu)),
            _ => None,
        };
        self.last_broker = broker;
        let point = Point {
            at: self.started.elapsed().as_secs_f64(),
            published_per_second: new.published as f64 / seconds,
            delivered_per_second: new.delivered as f64 / seconds,
            operations_per_second: new.operations as f64 / seconds,
            p50_us: percentiles.map(|p| p.p50),
            p99_us: percentiles.map(|p| p.p99),
            broker_cpu_cores: cpu.map(|cpu| cpu.as_secs_f64() / seconds),
            broker_resident_bytes: broker.map(|usage| usage.resident_bytes),
        };
        if !self.quiet {
            show(self.name, &point, percentiles.as_ref());
        }
        self.series.push(point);
    }

    /// The phase is over. `count` of `unit` is what its costs are divided by; `elapsed` is less than the time
    /// since it began if waiting for the end took part of that.
    pub(crate) fn finish(
        mut self,
        unit: &'static str,
        count: u64,
        elapsed: Option<Duration>,
    ) -> Phase {
        let elapsed = elapsed.unwrap_or_else(|| self.started.elapsed());
        let broker = self.broker_pid.and_then(process::usage);
        let generator = process::own_usage();
        let counts = self.counts();
        for meter in self.workers.meters() {
            meter.take_latencies(&mut self.latencies);
        }
        Phase::from(Measured {
            name: self.name,
            unit,
            count,
            elapsed,
            counts,
            latencies: self.latencies,
            broker: self.broker_at_start.zip(broker),
            generator: (self.generator_at_start, generator),
            series: self.series,
        })
    }
}

/// A line for the eye. To standard error: what was measured goes to standard output.
#[allow(clippy::print_stderr, reason = "a command speaks to its user")]
fn show(name: &str, point: &Point, percentiles: Option<&Percentiles>) {
    let mut line = format!("{name} {:>6.1} s", point.at);
    for (what, rate) in [
        ("published", point.published_per_second),
        ("delivered", point.delivered_per_second),
        ("done", point.operations_per_second),
    ] {
        if rate > 0.0 {
            line += &format!(" | {what} {}/s", grouped(rate as u64));
        }
    }
    if let Some(p) = percentiles {
        line += &format!(" | p50 {:.0} us, p99 {:.0}, max {:.0}", p.p50, p.p99, p.max);
    }
    if let (Some(cores), Some(bytes)) = (point.broker_cpu_cores, point.broker_resident_bytes) {
        line += &format!(" | broker {cores:.2} cores, {:.0} MiB", mib(bytes));
    }
    eprintln!("{line}");
}
