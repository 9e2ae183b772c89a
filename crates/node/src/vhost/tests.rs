//! Topology from many threads at once.

use metadata::topology::BindingSpec;

use super::*;
use crate::node::Node;
use crate::settings::Settings;

fn spec(name: &str) -> QueueSpec {
    QueueSpec {
        name: name.into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Default::default(),
    }
}

fn vhost() -> Arc<Vhost> {
    let node = Node::in_memory(Settings::default(), 0);
    node.vhost("/").expect("it is there from the start")
}

#[test]
fn a_queue_is_made_once_whoever_is_first() {
    let vhost = vhost();
    for round in 0..50 {
        let name = format!("q{round}");
        let declare = || vhost.declare_queue(0, spec(&name), ConnectionId(1));
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(declare)).collect();
            let ended = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            let declared: Result<Vec<_>, _> = ended.collect();
            declared.expect("all declare the same")
        });
        assert!(
            made.iter()
                .all(|declared| declared.cell.id == made[0].cell.id)
        );
    }
}

#[test]
fn the_epoch_moves_with_every_change() {
    let vhost = vhost();
    let bind = || {
        vhost.bind(
            0,
            BindingSpec {
                source: "amq.fanout".into(),
                destination: Destination::Queue("q".into()),
                routing_key: "".into(),
                arguments: Default::default(),
            },
        )
    };
    let mut epochs = vec![vhost.epoch()];
    assert!(bind().is_err(), "there is no queue yet");
    vhost
        .declare_queue(0, spec("q"), ConnectionId(1))
        .expect("a new queue");
    epochs.push(vhost.epoch());
    bind().expect("a new binding");
    epochs.push(vhost.epoch());
    let deleted = vhost.delete_queue("q", ConnectionId(1), DeleteQueueIf::default());
    assert_eq!(deleted.expect("it is there").0, 0);
    epochs.push(vhost.epoch());
    assert!(
        epochs.is_sorted_by(|before, after| before < after),
        "{epochs:?}"
    );
    let deleted = vhost.delete_queue("q", ConnectionId(1), DeleteQueueIf::default());
    assert_eq!(deleted.expect("deleting nothing succeeds").0, 0);
}

#[test]
fn exclusive_queues_are_their_owners() {
    let vhost = vhost();
    let exclusive = QueueSpec {
        exclusive: true,
        ..spec("mine")
    };
    vhost
        .declare_queue(0, exclusive, ConnectionId(1))
        .expect("a new queue");
    vhost
        .declare_queue(0, spec("ours"), ConnectionId(1))
        .expect("a new queue");
    let refused = vhost
        .open_queue("mine", ConnectionId(2))
        .err()
        .expect("it is locked");
    assert_eq!(refused.kind, RefusalKind::ResourceLocked);
    vhost.delete_queues_of(ConnectionId(2));
    assert!(vhost.open_queue("mine", ConnectionId(1)).is_ok());
    vhost.delete_queues_of(ConnectionId(1));
    assert!(vhost.find_queue("mine").is_err());
    assert!(vhost.find_queue("ours").is_ok());
}
