//! An error at each operation on the disk in turn: nothing that was called durable is lost, and the log opens.

use std::collections::BTreeSet;
use std::sync::Arc;

use storage::disk::sim::{Chance, Fault, SimDisk};
use storage::{Append, Log, LogPosition, Options, OwnerEntry, OwnerId, Refused};

use crate::damage::{Call, State, held, read_all, state_of};

fn options() -> Options {
    Options {
        log_file_bytes: 4096,
        ..Options::default()
    }
}

struct Life {
    calls: Vec<(u64, Call)>,
    chance: Chance,
    /// What was called durable.
    durable: u64,
    /// Something was refused, and not because the medium was full.
    refused: bool,
}

impl Life {
    fn state(&self) -> State {
        state_of(&self.calls, &BTreeSet::new(), &BTreeSet::new())
    }

    fn call(&mut self, log: &Log) {
        let owner = 1 + self.chance.below(3);
        let some: Vec<u64> = held(&self.state(), owner)
            .into_iter()
            .filter(|_| self.chance.one_in(2))
            .collect();
        if self.chance.one_in(3) && !some.is_empty() {
            let positions: Vec<LogPosition> = some.iter().copied().map(LogPosition).collect();
            let position = log.batch().release(OwnerId(owner), &positions);
            self.calls.push((position.0, Call::Release(owner, some)));
            return;
        }
        let payload = vec![self.chance.next_u64() as u8; self.chance.below(700) as usize];
        let entries = [OwnerEntry::plain(OwnerId(owner))];
        let append = Append {
            owners: &entries,
            transient: false,
            weight: 1,
            payload: &[&payload],
        };
        let pushed = log.batch().push(&append);
        match pushed {
            Ok(position) => {
                let message = (payload, false, 0, 0, 0);
                self.calls
                    .push((position.0, Call::Push(vec![(owner, message)])));
            }
            Err(Refused::Behind) if log.usage().full => {}
            Err(Refused::Behind | Refused::Failed) => self.refused = true,
        }
    }
}

/// Opens, calls and steps until the end or the log's failure. `None`: the open met the fault.
fn live(disk: &SimDisk) -> Option<(Log, Life)> {
    let (log, recovery) = Log::open(Arc::new(disk.clone()), options()).ok()?;
    assert_eq!(recovery.last_position, LogPosition(0));
    let mut life = Life {
        calls: Vec::new(),
        chance: Chance::new(7),
        durable: 0,
        refused: false,
    };
    for round in 0..40 {
        for _ in 0..3 {
            if log.failure().is_none() {
                life.call(&log);
            }
        }
        log.write_step();
        if round % 3 == 0 {
            // It fails for the log's failure, or for a full disk, and is tried again.
            let _ = log.keep_step(round % 2 == 0);
        }
        life.durable = life.durable.max(log.durable().0);
        log.check_invariants();
    }
    Some((log, life))
}

/// What the calls up to a position make.
fn up_to(life: &Life, position: u64) -> State {
    let later: BTreeSet<u64> = life
        .calls
        .iter()
        .map(|(call, _)| *call)
        .filter(|call| *call > position)
        .collect();
    state_of(&life.calls, &later, &BTreeSet::new())
}

fn drop_empty(mut state: State) -> State {
    state.retain(|_, held| !held.is_empty());
    state
}

#[test]
fn an_error_at_any_operation_loses_nothing_that_was_durable() {
    let counted = SimDisk::new(1);
    assert!(live(&counted).is_some());
    let operations = counted.operations();
    assert!(operations > 100);
    for fault in [Fault::Io, Fault::Full] {
        let mut poisoned = 0;
        for operation in 0..operations {
            let what = format!("{fault:?} at operation {operation}");
            let disk = SimDisk::new(1);
            disk.plan(operation, fault);
            let durable = match live(&disk) {
                None => 0,
                Some((log, life)) => {
                    poisoned += u64::from(log.failure().is_some());
                    // Consumers go on: what is known can be read, failed or not.
                    assert_eq!(drop_empty(read_all(&log).unwrap()), life.state(), "{what}");
                    assert!(log.failure().is_some() || !life.refused, "{what}");
                    check_after(&disk, &life, &what);
                    life.durable
                }
            };
            if durable == 0 {
                disk.plan_nothing();
                disk.power_off();
                disk.power_on();
                Log::open(Arc::new(disk.clone()), options())
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
        match fault {
            Fault::Io => assert!(poisoned > operations / 2, "{poisoned} of {operations}"),
            // A full disk passes, but for a sync that fails with it.
            _ => assert!(poisoned < operations, "{poisoned} of {operations}"),
        }
    }
}

/// After the process ends, and after the power goes, the log opens and has what was durable, and nothing between.
fn check_after(disk: &SimDisk, life: &Life, what: &str) {
    disk.plan_nothing();
    for power in [false, true] {
        let disk = disk.copy();
        if power {
            disk.power_off();
            disk.power_on();
        }
        let opened = Log::open(Arc::new(disk), options());
        let (log, recovery) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        let last = recovery.last_position.0;
        assert!(
            last >= life.durable,
            "{what}: {last} of {} durable",
            life.durable
        );
        let state = drop_empty(read_all(&log).unwrap());
        assert_eq!(state, up_to(life, last), "{what}, power cut: {power}");
    }
}
