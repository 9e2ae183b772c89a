//! What each AMQP method asks an HTTP service, as it was recorded from RabbitMQ.

use percent_encoding::percent_decode_str;
use probe::Client;

use crate::auth_http::{service, start};

const RECORDED: &str = include_str!("questions.txt");

/// Steps and their questions.
fn recorded() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut steps: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in RECORDED.lines().filter(|line| !line.starts_with("//")) {
        match (line.strip_prefix("  "), steps.last_mut()) {
            (Some(question), Some((_, questions))) => questions.push(question),
            _ => steps.push((line, Vec::new())),
        }
    }
    steps
}

/// Path and form of a question, sorted.
fn written((path, form): &(String, String)) -> String {
    let form = form.replace('+', " ");
    let mut fields: Vec<String> = form
        .split('&')
        .map(|field| percent_decode_str(field).decode_utf8_lossy().into_owned())
        .collect();
    fields.sort();
    format!("{path} {}", fields.join(" "))
}

fn play(client: &mut Client, step: &str) {
    client.open_channel(1);
    for method in step.split("; ") {
        if method.starts_with("basic.publish") {
            client.send(1, method, b"1").expect("it is open");
        } else {
            let answer = client.call(1, method);
            let name = answer.as_ref().map(|event| event.name().to_owned());
            assert_ne!(
                name.as_deref(),
                Some("channel.close"),
                "{method}: {answer:?}"
            );
        }
    }
    // Its answer says that what was published is through.
    assert!(client.call(1, "basic.qos").is_some(), "{step}");
    assert!(client.call(1, "channel.close").is_some(), "{step}");
}

#[test]
fn every_method_asks_what_rabbitmq_asks() {
    let service = service();
    service.set("/user", "allow administrator");
    let broker = start(&service);
    let mut client = broker.log_in("ann", "p").expect("the service lets her in");
    client.call(1, "channel.close");
    let mut before = service.asked().len();
    let steps = recorded();
    assert!(20 < steps.len());
    for (step, expected) in steps {
        play(&mut client, step);
        let asked = service.asked();
        let new: Vec<String> = asked[before..].iter().map(written).collect();
        assert_eq!(new, expected, "{step}");
        before = asked.len();
    }
}
