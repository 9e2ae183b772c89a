//! Definitions brought over from RabbitMQ, policies set by hand, and both after a restart.

use crate::broker::{Broker, run};

const OF_RABBITMQ_4: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../metadata/src/definitions/samples/rabbitmq-4.json"
);

#[test]
fn definitions_are_loaded_at_the_start_and_policies_outlive_it() {
    let dir = tempfile::tempdir().unwrap();
    let load = format!("load_definitions={OF_RABBITMQ_4}");
    let broker = Broker::start_with(dir.path(), &["--set", &load, "--amqp", "127.0.0.1:0"]);
    assert_eq!(broker.ctl("authenticate_user app secret"), "Success\n");
    assert_eq!(
        broker.ctl("list_policies -p shop"),
        "shop\tttl\t^shop\tqueues\t{\"dead-letter-exchange\":\"shop.dead\",\"message-ttl\":60000}\t3\n"
    );
    assert_eq!(
        broker.ctl("list_queues -p shop name policy operator_policy --formatter csv"),
        "\"name\",\"policy\",\"operator_policy\"\n\"shop.mail\",\"ttl\",\"cap\"\n\
         \"shop.orders\",\"ttl\",\"cap\"\n"
    );
    broker.ctl("set_policy -p shop short ^shop.mail {\"max-length\":1} --priority 9");
    let (code, text) = broker.ctl_failure("set_policy -p shop bad x {\"foo\":1}");
    let refused =
        "Error:\nValidation failed\n\n[{<<\"foo\">>,1}] are not recognised policy settings";
    assert_eq!((code, text.trim_end()), (69, refused));
    let exported = broker.ctl("export_definitions -");
    broker.signal("TERM");
    broker.wait();
    let broker = Broker::start(dir.path());
    assert_eq!(broker.ctl("export_definitions -"), exported);
    let policies = broker.ctl("list_queues -p shop name policy");
    assert_eq!(policies, "shop.mail\tshort\nshop.orders\tttl\n");
}

#[test]
fn a_file_is_imported_into_a_running_broker_and_into_a_stopped_one() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let import = || run(&["import", OF_RABBITMQ_4, "--data-dir", data_dir]);
    assert!(import().status.success());
    let broker = Broker::start(dir.path());
    let stopped = broker.ctl("export_definitions -");
    assert!(stopped.contains("\"shop.orders\""), "{stopped}");
    assert!(import().status.success());
    assert_eq!(broker.ctl("export_definitions -"), stopped);
}
