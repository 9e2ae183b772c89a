//! What a collector is sent, and what becomes of spans that it does not take.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicU64;

use broker::message::Message;
use node::settings::Settings;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use parking_lot::Mutex;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use wire::amqp091::properties::Properties;

use super::*;

/// Head and body of each request.
type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Answers with one status after another, the last one for ever.
struct Collector {
    address: SocketAddr,
    asked: Asked,
}

impl Collector {
    fn start(answers: &[(u16, Vec<u8>)]) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let collector = Collector {
            address: listener.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&collector.asked);
        let mut answers = answers.to_vec();
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    reader.read_line(&mut head).expect("a line");
                }
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1).expect("it has one");
                let length = length.lines().next().expect("a line").parse();
                let mut body = vec![0; length.expect("a number")];
                reader.read_exact(&mut body).expect("a body");
                asked.lock().push((head, body));
                let (status, body) = match answers.len() {
                    1 => answers[0].clone(),
                    _ => answers.remove(0),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
                let _ = socket.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        collector
    }

    fn asked_len(&self) -> usize {
        self.asked.lock().len()
    }
}

/// Counts lines of the log: warnings, and others from `info` on.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<(u32, u32)>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().contains("otlp")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let (warnings, others) = &mut *self.0.lock();
        match *event.metadata().level() {
            Level::WARN => *warnings += 1,
            _ => *others += 1,
        }
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// An exporter to there, with two spans that wait.
fn exporter(address: SocketAddr) -> Exporter {
    let node = Node::in_memory(Settings::default(), 0);
    let mut options = OtlpOptions {
        endpoint: Some(format!("http://{address}/v1/traces")),
        service_name: Some("s".into()),
        ..OtlpOptions::default()
    };
    options.sampling.ratio = 1.0;
    let key = HeaderValue::from_static("secret");
    options.headers.insert("api-key", key);
    options.resource_attributes.insert("a".into(), "b".into());
    let made = Exporter::start(&node, Clock::start(), &options);
    let made = made.expect("it starts").expect("it is asked for");
    refill(&made);
    Exporter {
        retry_pause: Duration::ZERO,
        ..made
    }
}

fn refill(exporter: &Exporter) {
    let properties = Properties::validate(&[0, 0]).expect("they are none");
    let message = Message::new("ex", "key", &properties, None, b"body", &mut Vec::new());
    let tracer = &exporter.tracer;
    let trace = tracer.begin(0, &message).expect("all are traced");
    tracer.published(&trace, &"/".into(), &message, (1, 2), &[]);
}

/// How many spans were taken, and how many given up.
fn counts(exporter: &Exporter) -> (u64, u64) {
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &exporter.tracer.counters;
    (load(&counters.exported), load(&counters.failed))
}

fn run(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future);
}

#[test]
fn a_request_says_who_and_what() {
    let collector = Collector::start(&[(200, Vec::new())]);
    let exporter = exporter(collector.address);
    run(exporter.send_all());
    assert_eq!(counts(&exporter), (2, 0));
    let (head, body) = collector.asked.lock().remove(0);
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    assert!(head.contains("api-key: secret"), "{head}");
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("it is one");
    let [all] = &request.resource_spans[..] else {
        panic!("{request:?}")
    };
    let resource = all.resource.as_ref().expect("it is there");
    let said = resource.attributes.iter().map(|pair| {
        let value = pair.value.clone().and_then(|value| value.value);
        match value {
            Some(Value::StringValue(value)) => format!("{}={value}", pair.key),
            other => format!("{}={other:?}", pair.key),
        }
    });
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "a=b".to_owned(),
            "service.instance.id=leveret@localhost".into(),
            "service.name=s".into(),
            format!("service.version={version}"),
        ]
    );
    let [publish, route] = &all.scope_spans[0].spans[..] else {
        panic!("{all:?}")
    };
    assert_eq!((&*publish.name, &*route.name), ("publish ex", "route ex"));
    assert_eq!(route.parent_span_id, publish.span_id);
    assert_eq!((publish.start_time_unix_nano, publish.flags), (1, 0x101));
}

#[test]
fn what_is_refused_for_now_is_sent_again() {
    let lines = Lines::default();
    let _here = tracing::subscriber::set_default(lines.clone());
    let collector = Collector::start(&[(503, Vec::new()), (429, Vec::new()), (200, Vec::new())]);
    let exporter = exporter(collector.address);
    run(exporter.send_all());
    assert_eq!((counts(&exporter), collector.asked_len()), ((2, 0), 3));
    // It was said that messages are traced, that it failed, and that it works again.
    assert_eq!(*lines.0.lock(), (1, 2));
}

#[test]
fn what_is_refused_for_good_is_given_up() {
    let collector = Collector::start(&[(400, Vec::new())]);
    let exporter = exporter(collector.address);
    run(exporter.send_all());
    assert_eq!((counts(&exporter), collector.asked_len()), ((0, 2), 1));
}

#[test]
fn what_is_refused_in_part_is_counted() {
    let refused = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "why".into(),
        }),
    };
    let collector = Collector::start(&[(200, refused.encode_to_vec())]);
    let exporter = exporter(collector.address);
    run(exporter.send_all());
    assert_eq!(counts(&exporter), (1, 1));
}

#[test]
fn a_collector_that_is_away_is_told_of_once() {
    let lines = Lines::default();
    let _here = tracing::subscriber::set_default(lines.clone());
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let exporter = exporter(address);
    run(async {
        exporter.send_all().await;
        refill(&exporter);
        exporter.send_all().await;
    });
    assert_eq!(counts(&exporter), (0, 4));
    assert_eq!(*lines.0.lock(), (1, 1));
}
