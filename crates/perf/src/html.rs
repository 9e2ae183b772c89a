//! A page of its own with what was measured: tables and plots, no script, nothing from elsewhere.

use std::fmt::Write;

use crate::report::{Cost, Percentiles, Phase, Point, Report, grouped, mib, plural};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#222}table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.2rem .9rem;border-bottom:1px solid #ddd;\
text-align:right}td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto;margin:.3rem 0}\
h2{margin-top:2.5rem}.note{color:#666}";

/// Width and height of a plot, and the room for its labels.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 90.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 24.0;

const COLOURS: [&str; 3] = ["#b3541e", "#2a6f97", "#6a994e"];

/// What a line of a plot shows of a second.
type Value = fn(&Point) -> Option<f64>;

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let title = format!("leveret perf: {} on {}", report.mode, report.broker);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title><style>{STYLE}</style>\
         </head><body>\n<h1>{0}</h1>\n<p class=\"note\">",
        escaped(&title)
    );
    let options = report.options.iter();
    let options: Vec<String> = options
        .map(|(name, value)| format!("{}: {}", escaped(name), escaped(value)))
        .collect();
    out += &options.join(" · ");
    out += "</p>\n";
    for phase in &report.phases {
        add_phase(&mut out, phase);
    }
    out += "</body></html>\n";
    out
}

fn add_phase(out: &mut String, phase: &Phase) {
    let _ = write!(
        out,
        "<h2>{}</h2>\n<p>{} {} in {:.2} s: <b>{}/s</b></p>\n",
        phase.name,
        grouped(phase.count),
        plural(phase.unit),
        phase.seconds,
        grouped(phase.per_second as u64)
    );
    add_latencies(out, phase);
    add_costs(out, phase);
    let series = &phase.series;
    let rates: [(&str, Value); 3] = [
        ("published", |point| Some(point.published_per_second)),
        ("delivered", |point| Some(point.delivered_per_second)),
        ("done", |point| Some(point.operations_per_second)),
    ];
    add_plot(out, "a second", series, &rates);
    let latencies: [(&str, Value); 2] =
        [("p50", |point| point.p50_us), ("p99", |point| point.p99_us)];
    add_plot(out, "latency, us", series, &latencies);
    let cores: [(&str, Value); 1] = [("broker", |point| point.broker_cpu_cores)];
    add_plot(out, "processors in use", series, &cores);
    let memory: [(&str, Value); 1] = [("broker", |point| point.broker_resident_bytes.map(mib))];
    add_plot(out, "memory, MiB", series, &memory);
}

fn add_latencies(out: &mut String, phase: &Phase) {
    let rows: Vec<(&str, &Percentiles)> = [
        ("latency", &phase.latency_us),
        ("confirm", &phase.confirm_us),
    ]
    .into_iter()
    .filter_map(|(name, percentiles)| Some((name, percentiles.as_ref()?)))
    .collect();
    if rows.is_empty() {
        return;
    }
    *out += "<table><tr><th>us</th><th>min</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th>\
             <th>max</th></tr>";
    for (name, p) in rows {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td>\
             <td>{:.0}</td></tr>",
            p.min, p.mean, p.p50, p.p90, p.p99, p.p999, p.max
        );
    }
    *out += "</table>\n";
}

fn add_costs(out: &mut String, phase: &Phase) {
    *out += "<table><tr><th>process</th><th>CPU time</th><th>each</th><th>memory</th><th>peak</th></tr>";
    let mut add = |name: &str, cost: &Cost| {
        let _ = write!(
            out,
            "<tr><td>{name}</td><td>{:.2} s</td><td>{:.0} ns</td><td>{:.1} MiB</td><td>{:.1} MiB</td></tr>",
            cost.cpu_seconds,
            cost.cpu_ns_per_unit,
            mib(cost.resident_bytes_after),
            mib(cost.peak_bytes)
        );
    };
    if let Some(cost) = &phase.broker {
        add("broker", cost);
    }
    add("generator", &phase.generator);
    *out += "</table>\n";
}

/// A plot of those lines that are not all zero; nothing if none is.
fn add_plot(out: &mut String, title: &str, series: &[Point], lines: &[(&str, Value)]) {
    let drawn: Vec<(&str, Vec<(f64, f64)>)> = lines
        .iter()
        .map(|(name, value)| {
            let points = series.iter();
            let points = points.filter_map(|point| Some((point.at, value(point)?)));
            (*name, points.collect())
        })
        .filter(|(_, points): &(&str, Vec<(f64, f64)>)| points.iter().any(|(_, y)| *y > 0.0))
        .collect();
    let all = || drawn.iter().flat_map(|(_, points)| points);
    let x_max = all().map(|(x, _)| *x).fold(0.0, f64::max);
    let y_max = rounded_up(all().map(|(_, y)| *y).fold(0.0, f64::max));
    if drawn.is_empty() || series.len() < 2 {
        return;
    }
    let x_of = |x: f64| LEFT + x / x_max * (WIDTH - LEFT - 10.0);
    let y_of = |y: f64| HEIGHT - BOTTOM - y / y_max * (HEIGHT - BOTTOM - TOP);
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-size=\"12\" fill=\"#666\"><text x=\"0\" y=\"12\">{title}</text>"
    );
    for step in 0..=4 {
        let y = y_max * f64::from(step) / 4.0;
        let _ = write!(
            out,
            "<path d=\"M{LEFT} {0:.1}H{WIDTH}\" stroke=\"#eee\"/><text x=\"{1}\" y=\"{2:.1}\" \
             text-anchor=\"end\">{3}</text>",
            y_of(y),
            LEFT - 8.0,
            y_of(y) + 4.0,
            label(y)
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{x_max:.0} s</text>",
        WIDTH - 10.0,
        HEIGHT - 8.0
    );
    for (index, (name, points)) in drawn.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y)))
            .collect();
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>\
             <text x=\"{:.1}\" y=\"12\" fill=\"{colour}\">{name}</text>",
            path.join(" "),
            LEFT + 120.0 + 110.0 * index as f64
        );
    }
    *out += "</svg>\n";
}

/// The next round number.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let magnitude = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| value <= step * magnitude);
    step.unwrap_or(10.0) * magnitude
}

fn label(value: f64) -> String {
    if value >= 100.0 {
        return grouped(value as u64);
    }
    format!("{value:.2}")
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [
            (0.0, 1.0),
            (0.9, 1.0),
            (1.1, 2.0),
            (730.0, 800.0),
            (1001.0, 2000.0),
        ] {
            assert_eq!(rounded_up(value), expected, "{value}");
        }
    }

    #[test]
    fn labels_are_short() {
        for (value, expected) in [
            (0.5, "0.5"),
            (2.0, "2"),
            (1_500_000.0, "1,500,000"),
            (0.0, "0"),
        ] {
            assert_eq!(label(value), expected);
        }
    }

    #[test]
    fn names_cannot_break_the_page() {
        assert_eq!(escaped("<b a=\"&\">"), "&lt;b a=&quot;&amp;&quot;>");
    }
}
