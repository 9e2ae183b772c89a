//! Power cuts: whatever a cut leaves of a commit, all that was durable is found again, and at most the one
//! change that was under way besides.

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::disk::SimDisk;
use super::model::Model;
use super::*;

fn any_change(random: &mut SmallRng) -> Change {
    let vhost_name = ["a", "ab", "/"][random.random_range(0..3)];
    let name = format!("n{}", random.random_range(0..6));
    let spec = || binding(&name, &[("n", 1)]);
    match random.random_range(0..14) {
        0 => vhost(vhost_name),
        1 => Change::DeleteVhost {
            vhost: vhost_name.into(),
        },
        2 => exchange(vhost_name, &name),
        3 => Change::DeleteExchange {
            vhost: vhost_name.into(),
            exchange: name.into(),
        },
        4 | 5 => queue(vhost_name, &name, random.random()),
        6 => Change::DeleteQueue {
            vhost: vhost_name.into(),
            queue: name.into(),
        },
        7 => put_binding(vhost_name, &name, &[("n", 1)]),
        8 => Change::DeleteBinding {
            vhost: vhost_name.into(),
            spec: spec(),
        },
        9 => user(&name),
        10 => Change::DeleteUser { user: name.into() },
        11 => permissions(vhost_name, &name),
        12 => topic_permissions(vhost_name, &name, "x"),
        _ => Change::All(vec![
            queue(vhost_name, &name, random.random()),
            put_binding(vhost_name, &name, &[]),
        ]),
    }
}

/// Runs a catalog until the power goes after so many operations, then starts it again on what is left.
fn cut_and_recover(seed: u64, operations: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::direct(disk.clone()).unwrap();
    disk.fail_after(operations);
    let (mut before, mut model) = (Model::default(), Model::default());
    while catalog.failure().is_none() {
        let change = any_change(&mut random);
        before = model.clone();
        model.apply(&change);
        let ticket = catalog.write(change);
        assert_eq!(catalog.failure().is_none(), catalog.durable() == ticket);
    }
    drop(catalog);
    let image = disk.after_power_cut(|| match random.random_range(0..3) {
        0 => None,
        1 => Some(random.random_range(0..9)),
        _ => Some(usize::MAX),
    });
    let (_, stored) = Catalog::direct(SimDisk::from_image(image)).unwrap();
    assert!(
        before.equals(&stored) || model.equals(&stored),
        "before the last change {before:#?}\nwith it {model:#?}\nfound {stored:#?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_loses_nothing_durable(seed: u64, operations in 0_u64..600) {
        cut_and_recover(seed, operations);
    }
}
