//! OpenTelemetry, which RabbitMQ does not have.

use hyper::Uri;
use hyper::header::HeaderName;

use crate::config::key::{Applies::*, Key, key};
use crate::config::value::{Given, Outcome};
use crate::otlp::OtlpOptions;

/// OpenTelemetry's names of samplers: whether parents are followed, and the ratio that the name stands for, if it does.
const SAMPLERS: [(&str, bool, Option<f64>); 6] = [
    ("parentbased_traceidratio", true, None),
    ("parentbased_always_on", true, Some(1.0)),
    ("parentbased_always_off", true, Some(0.0)),
    ("traceidratio", false, None),
    ("always_on", false, Some(1.0)),
    ("always_off", false, Some(0.0)),
];

/// The path of OTLP over HTTP, where the URL has none.
const TRACES_PATH: &str = "/v1/traces";

fn endpoint(options: &mut OtlpOptions, given: &Given<'_>) -> Outcome {
    let wrong =
        || "expected the URL of an OTLP collector, such as http://localhost:4318".to_owned();
    let uri: Uri = given.value.parse().map_err(|_| wrong())?;
    if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong());
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err("a login belongs into opentelemetry.headers.authorization".into());
    }
    let url = given.value.trim_end_matches('/');
    options.endpoint = Some(match uri.path() {
        "" | "/" => format!("{url}{TRACES_PATH}"),
        _ => url.to_owned(),
    });
    Ok(())
}

fn sampler(options: &mut OtlpOptions, given: &Given<'_>) -> Outcome {
    let name = given.one_of(&SAMPLERS.map(|(name, ..)| name))?;
    let found = SAMPLERS.iter().find(|(known, ..)| *known == name);
    if let Some((_, parent_based, ratio)) = found {
        options.sampling.parent_based = *parent_based;
        // Of one whose name ends with the ratio, the ratio is a key of its own, which is read after this one.
        options.sampling.ratio = ratio.unwrap_or(options.sampling.ratio);
        options.ratio_is_fixed = ratio.is_some();
    }
    Ok(())
}

fn ratio(options: &mut OtlpOptions, given: &Given<'_>) -> Outcome {
    let ratio = match given.value.parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => return Err("expected a number from 0 to 1".into()),
    };
    if !options.ratio_is_fixed {
        options.sampling.ratio = ratio;
    }
    Ok(())
}

pub(super) static KEYS: &[Key] = &[
    key(
        "opentelemetry.endpoint",
        Restart,
        "",
        "the URL of a collector that takes OTLP over HTTP, `http://localhost:4318` for example; `/v1/traces` is added \
         where the URL has no path; unless set, nothing is traced",
        |config, given| endpoint(&mut config.otlp, given),
    ),
    key(
        "opentelemetry.enabled",
        Restart,
        "true",
        "`false`: nothing is traced, whatever else is set",
        |config, given| {
            config.otlp.enabled = given.switch()?;
            Ok(())
        },
    ),
    key(
        "opentelemetry.protocol",
        Restart,
        "http/protobuf",
        "what the collector is spoken to in; there is no other",
        |_, given| given.one_of(&["http/protobuf"]).map(|_| ()),
    ),
    key(
        "opentelemetry.headers.$name",
        Restart,
        "",
        "a header of each request to the collector, for logins; `config show` hides its value",
        |config, given| {
            let name = HeaderName::try_from(given.name());
            let name = name.map_err(|_| "expected the name of an HTTP header".to_owned())?;
            config.otlp.headers.insert(name, given.header()?);
            Ok(())
        },
    ),
    key(
        "opentelemetry.service_name",
        Restart,
        "",
        "what the broker is called: the attribute `service.name`; unless set, what the attributes below say, or `leveret`",
        |config, given| {
            config.otlp.service_name = Some(given.text());
            Ok(())
        },
    ),
    key(
        "opentelemetry.resource_attributes.$name",
        Restart,
        "",
        "another attribute of the broker, such as `deployment\\.environment\\.name`",
        |config, given| {
            let attributes = &mut config.otlp.resource_attributes;
            attributes.insert(given.name(), given.text());
            Ok(())
        },
    ),
    key(
        "opentelemetry.sampler",
        Restart,
        "parentbased_traceidratio",
        "which messages are traced, by OpenTelemetry's names of samplers; those that begin with `parentbased_` follow a \
         message's `traceparent` where it has one",
        |config, given| sampler(&mut config.otlp, given),
    ),
    key(
        "opentelemetry.sampler_ratio",
        Restart,
        "0",
        "the part of messages that a sampler of a ratio traces, from 0 to 1",
        |config, given| ratio(&mut config.otlp, given),
    ),
    key(
        "opentelemetry.messages_per_second_max",
        Restart,
        "100",
        "no more messages are traced in a second",
        |config, given| {
            config.otlp.sampling.messages_per_second_max = given.integer(0, u32::MAX)?;
            Ok(())
        },
    ),
    key(
        "opentelemetry.queue_spans_max",
        Restart,
        "8192",
        "spans that may wait to be sent; more are dropped and counted",
        |config, given| {
            config.otlp.queue_spans_max = given.integer(1, 1 << 24)?;
            Ok(())
        },
    ),
    key(
        "opentelemetry.timeout",
        Restart,
        "10000",
        "how long the collector may take to answer, in milliseconds",
        |config, given| {
            config.otlp.timeout_ms = given.integer(1, 600_000)?;
            Ok(())
        },
    ),
    key(
        "opentelemetry.cacertfile",
        Restart,
        "",
        "whom to believe if the collector is reached over HTTPS; unless set, the system's roots",
        |config, given| {
            config.otlp.cacertfile = Some(given.path());
            Ok(())
        },
    ),
];
