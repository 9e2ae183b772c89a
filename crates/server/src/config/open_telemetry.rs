//! OpenTelemetry's own variables, as its SDKs read them: `OTEL_EXPORTER_OTLP_ENDPOINT` and its kin.
//!
//! Those about traces alone go before those about everything. Others whose names begin with `OTEL_` are left alone.

use super::environment::{find, origin};
use super::layers::{Layers, Sources};
use super::statement::{ConfigError, Statement, words};

/// Variables that set a key as they are, the general one before the one about traces.
const KEYS: [(&str, &str); 9] = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "opentelemetry.protocol"),
    (
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "opentelemetry.protocol",
    ),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "opentelemetry.timeout"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "opentelemetry.timeout"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "opentelemetry.cacertfile"),
    (
        "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
        "opentelemetry.cacertfile",
    ),
    ("OTEL_SERVICE_NAME", "opentelemetry.service_name"),
    ("OTEL_TRACES_SAMPLER", "opentelemetry.sampler"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "opentelemetry.queue_spans_max"),
];

/// Variables that hold a list of `key=value`, and the key whose last word theirs are.
const LISTS: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_HEADERS", "opentelemetry.headers"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "opentelemetry.headers"),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "opentelemetry.resource_attributes",
    ),
];

/// Lays what they say over what is there.
pub(super) fn read(sources: &Sources, layers: &mut Layers, errors: &mut Vec<ConfigError>) {
    let mut put = |variable: &str, key: Vec<String>, value: String| {
        layers.put(Statement {
            words: key,
            value,
            origin: origin(variable),
        });
    };
    for (variable, key) in KEYS {
        if let Some(value) = find(sources, variable) {
            put(variable, words(key), value.to_owned());
        }
    }
    // The general address has no path of its own, the other is whole.
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
    if let Some(url) = find(sources, general) {
        let url = format!("{}/v1/traces", url.trim_end_matches('/'));
        put(general, words("opentelemetry.endpoint"), url);
    }
    let own = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    if let Some(url) = find(sources, own) {
        put(own, words("opentelemetry.endpoint"), url.to_owned());
    }
    sampler(sources, &mut put);
    for (variable, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ] {
        let off = find(sources, variable).is_some_and(|said| said.eq_ignore_ascii_case(value));
        if off {
            put(variable, words("opentelemetry.enabled"), "false".into());
        }
    }
    for (variable, key) in LISTS {
        for pair in find(sources, variable).unwrap_or_default().split(',') {
            if pair.trim().is_empty() {
                continue;
            }
            let Some((name, value)) = pair_of(pair) else {
                errors.push(ConfigError {
                    origin: origin(variable),
                    text: "expected a list of key=value, percent-encoded".into(),
                });
                break;
            };
            let mut key = words(key);
            key.push(name);
            put(variable, key, value);
        }
    }
}

/// The argument of a sampler is its ratio, and 1 unless said.
fn sampler(sources: &Sources, put: &mut impl FnMut(&str, Vec<String>, String)) {
    let Some(sampler) = find(sources, "OTEL_TRACES_SAMPLER") else {
        return;
    };
    if sampler.ends_with("traceidratio") {
        let argument = "OTEL_TRACES_SAMPLER_ARG";
        let ratio = find(sources, argument).unwrap_or("1");
        put(
            argument,
            words("opentelemetry.sampler_ratio"),
            ratio.to_owned(),
        );
    }
}

fn pair_of(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let name = decoded(name.trim())?;
    let value = decoded(value.trim())?;
    (!name.is_empty()).then_some((name, value))
}

fn decoded(text: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.ok().map(|text| text.into_owned())
}
