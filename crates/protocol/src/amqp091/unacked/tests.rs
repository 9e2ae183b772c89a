//! The tags of a channel against a plain ordered map.

use broker::queue::QueueOptions;
use broker::router::QueueId;
use metadata::topology::QueueSpec;
use node::queue_cell::Around;
use proptest::prelude::*;
use std::collections::BTreeMap;

use super::*;

fn cell() -> Arc<QueueCell> {
    let spec = QueueSpec {
        name: "q".into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Default::default(),
    };
    let (id, options) = (QueueId(1), QueueOptions::default());
    QueueCell::new(id, spec, options, None, Around::default(), 0)
}

fn unacked(cell: &Arc<QueueCell>, tag: u64) -> Unacked {
    Unacked {
        tag,
        cell: Arc::clone(cell),
        consumer: ConsumerId(tag % 3),
        id: DeliveryId { seq: tag, slot: 0 },
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Delivers this many, leaving a gap of so many tags first: those went to consumers without acks.
    Push(usize, u64),
    /// Settles a tag, counted back from the last.
    Take(u64),
    TakeUpTo(u64),
    TakeAll,
    TakeOf(u64),
    /// Takes up to a tag and puts back every other one of what it got, as a rollback does after a part of a
    /// transaction was requeued.
    PutBack(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..40_usize, 0..3_u64).prop_map(|(count, gap)| Step::Push(count, gap)),
        8 => (0..60_u64).prop_map(Step::Take),
        2 => (0..60_u64).prop_map(Step::TakeUpTo),
        1 => Just(Step::TakeAll),
        1 => (0..3_u64).prop_map(Step::TakeOf),
        2 => (0..60_u64).prop_map(Step::PutBack),
    ];
    prop::collection::vec(step, 0..60)
}

/// What stands in the model of one tag: whose it is.
type Model = BTreeMap<u64, ConsumerId>;

fn tags(taken: &[Unacked]) -> Vec<u64> {
    taken.iter().map(|unacked| unacked.tag).collect()
}

fn model_up_to(model: &mut Model, tag: u64) -> Option<Vec<u64>> {
    if !model.contains_key(&tag) {
        return None;
    }
    let above = model.split_off(&(tag + 1));
    Some(std::mem::replace(model, above).into_keys().collect())
}

fn take_up_to(real: &mut UnackedTags, tag: u64) -> Option<Vec<Unacked>> {
    let mut taken = Vec::new();
    real.take_up_to(tag, |unacked| taken.push(unacked))?;
    Some(taken)
}

fn play(steps: &[Step]) {
    let cell = cell();
    let (mut real, mut model) = (UnackedTags::default(), Model::new());
    let mut last = 0;
    for step in steps {
        match *step {
            Step::Push(count, gap) => {
                last += gap;
                for _ in 0..count {
                    last += 1;
                    real.push(unacked(&cell, last));
                    model.insert(last, ConsumerId(last % 3));
                }
            }
            Step::Take(back) => {
                let tag = last.saturating_sub(back);
                let taken = real.take(tag).map(|unacked| unacked.consumer);
                assert_eq!(taken, model.remove(&tag));
            }
            Step::TakeUpTo(back) => {
                let tag = last.saturating_sub(back);
                let taken = take_up_to(&mut real, tag).map(|taken| tags(&taken));
                assert_eq!(taken, model_up_to(&mut model, tag));
            }
            Step::TakeAll => {
                let taken: Vec<_> = real.take_all().collect();
                let all = std::mem::take(&mut model);
                assert_eq!(tags(&taken), all.into_keys().collect::<Vec<_>>());
            }
            Step::TakeOf(consumer) => {
                let taken = real.take_of(ConsumerId(consumer));
                let of = |id: &ConsumerId| id.0 == consumer;
                let mine = model.iter().filter(|(_, id)| of(id)).map(|(tag, _)| *tag);
                assert_eq!(tags(&taken), mine.collect::<Vec<_>>());
                model.retain(|_, id| !of(id));
            }
            Step::PutBack(back) => {
                let tag = last.saturating_sub(back);
                let Some(taken) = take_up_to(&mut real, tag) else {
                    continue;
                };
                let _ = model_up_to(&mut model, tag);
                let kept = taken.into_iter().filter(|unacked| unacked.tag % 2 == 0);
                let kept: Vec<_> = kept.collect();
                model.extend(kept.iter().map(|unacked| (unacked.tag, unacked.consumer)));
                real.put_back(kept);
            }
        }
        check_invariants(&real, &model);
    }
}

fn check_invariants(real: &UnackedTags, model: &Model) {
    assert_eq!(real.len(), model.len());
    let live = real.entries.iter().filter(|(_, entry)| entry.is_some());
    let live: Vec<u64> = live.map(|(tag, _)| *tag).collect();
    assert_eq!(live, model.keys().copied().collect::<Vec<_>>());
    assert!(
        real.entries.len() <= 2 * real.live + 16 + 1,
        "{} entries for {} unacked",
        real.entries.len(),
        real.live
    );
}

proptest! {
    #[test]
    fn tags_are_a_map(steps in steps()) {
        play(&steps);
    }
}

#[test]
fn holes_do_not_add_up() {
    let cell = cell();
    let mut real = UnackedTags::default();
    // The first stays, all others come and go.
    for tag in 1..10_000 {
        real.push(unacked(&cell, tag));
        if tag > 1 {
            assert!(real.take(tag).is_some());
        }
        assert!(real.entries.len() < 32);
    }
    assert_eq!(real.len(), 1);
}
