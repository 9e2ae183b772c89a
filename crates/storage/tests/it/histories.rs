//! Random histories with crashes, against a model that knows only the order of calls.
//!
//! The log promises that an open finds exactly what the calls up to some position made, and that this position
//! is not below any that was called durable. So the model keeps the calls, and after each open plays those up to
//! the recovered position again. In the middle of the log's own steps (at any operation on the disk) other
//! calls and reads happen. Same seed, same run. `STORAGE_HISTORIES` sets how many, `STORAGE_SEED` replays one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use storage::disk::sim::{Chance, Fault, SimDisk};
use storage::{
    Append, DeliberateFault, Durability, Log, LogPosition, Options, OwnerEntry, OwnerId, ReadLimit,
    Recovery, StorageError,
};

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+));
        }
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    tag: u64,
    bytes: usize,
    expires_ms: u64,
    priority: u8,
    delivery_count: u32,
    redelivered: bool,
    transient: bool,
}

type State = BTreeMap<u64, BTreeMap<u64, Held>>;

#[derive(Debug, Clone)]
enum Call {
    Push(Vec<(u64, Held)>),
    Release(u64, Vec<u64>),
    Delivered(u64, u32, Vec<u64>),
    Purge(u64, Vec<u64>),
    Forget(u64),
}

fn apply(state: &mut State, position: u64, call: &Call) {
    match call {
        Call::Push(holds) => {
            for (owner, held) in holds {
                state
                    .entry(*owner)
                    .or_default()
                    .insert(position, held.clone());
            }
        }
        Call::Release(owner, positions) => {
            for position in positions {
                state.entry(*owner).or_default().remove(position);
            }
        }
        Call::Delivered(owner, count, positions) => {
            for position in positions {
                if let Some(held) = state.entry(*owner).or_default().get_mut(position) {
                    held.redelivered = true;
                    held.delivery_count = *count;
                }
            }
        }
        Call::Purge(owner, keep) => {
            state
                .entry(*owner)
                .or_default()
                .retain(|position, _| keep.contains(position));
        }
        Call::Forget(owner) => {
            state.remove(owner);
        }
    }
}

fn payload(tag: u64, bytes: usize) -> Vec<u8> {
    let mut chance = Chance::new(tag);
    (0..bytes).map(|_| chance.next_u64() as u8).collect()
}

/// The model, and the chance that drives the run.
struct World {
    chance: Chance,
    /// What the last open found.
    base: State,
    /// The calls since, with the position each took.
    calls: Vec<(u64, Call)>,
    now: State,
    owners: Vec<u64>,
    next_owner: u64,
    next_tag: u64,
    digest: u64,
    error: Option<String>,
    /// Releases since the last open of what was not held.
    not_alive: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        World {
            chance: Chance::new(seed),
            base: State::new(),
            calls: Vec::new(),
            now: State::new(),
            owners: (1..=5).collect(),
            next_owner: 6,
            next_tag: 1,
            digest: 0,
            error: None,
            not_alive: 0,
        }
    }

    fn owner(&mut self) -> u64 {
        let index = self.chance.below(self.owners.len() as u64) as usize;
        self.owners[index]
    }

    /// Some of what an owner holds: from the front as a rule, else here and there.
    fn some_of(&mut self, owner: u64) -> Vec<u64> {
        let held: Vec<u64> = self
            .now
            .get(&owner)
            .map(|m| m.keys().copied().collect())
            .unwrap_or_default();
        let mut some = Vec::new();
        if self.chance.one_in(2) {
            let count = self.chance.below(held.len() as u64 + 1) as usize;
            some.extend_from_slice(&held[..count]);
        } else {
            let n = 1 + self.chance.below(4);
            some.extend(held.into_iter().filter(|_| self.chance.one_in(n)));
            if self.chance.one_in(2) {
                some.reverse();
            }
        }
        some
    }

    fn push(&mut self, log: &Log) {
        let mut owners = vec![self.owner()];
        if self.chance.one_in(3) {
            for _ in 0..self.chance.below(4) {
                let owner = self.owner();
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        let bytes = match self.chance.below(12) {
            0 => 0,
            1 => 3000 + self.chance.below(4000),
            2..=6 => self.chance.below(60),
            _ => self.chance.below(900),
        } as usize;
        let tag = self.next_tag;
        self.next_tag += 1;
        let transient = self.chance.one_in(12);
        let long = self.chance.one_in(3);
        let holds: Vec<(u64, Held)> = owners
            .into_iter()
            .map(|owner| {
                let held = Held {
                    tag,
                    bytes,
                    expires_ms: if long { self.chance.below(1000) } else { 0 },
                    priority: if long { self.chance.below(10) as u8 } else { 0 },
                    delivery_count: if long { self.chance.below(3) as u32 } else { 0 },
                    redelivered: false,
                    transient,
                };
                (owner, held)
            })
            .collect();
        let entries: Vec<OwnerEntry> = holds
            .iter()
            .map(|(owner, held)| OwnerEntry {
                owner: OwnerId(*owner),
                expires_ms: held.expires_ms,
                delivery_count: held.delivery_count,
                priority: held.priority,
            })
            .collect();
        let payload = payload(tag, bytes);
        let (head, body) = payload.split_at(self.chance.below(bytes as u64 + 1) as usize);
        let append = Append {
            owners: &entries,
            transient,
            weight: bytes as u32,
            payload: &[head, body],
        };
        if let Ok(position) = log.batch().push(&append) {
            self.called(position, Call::Push(holds));
        }
    }

    fn called(&mut self, position: LogPosition, call: Call) {
        apply(&mut self.now, position.0, &call);
        self.calls.push((position.0, call));
    }

    /// One random call.
    fn call(&mut self, log: &Log) {
        if log.failure().is_some() {
            return;
        }
        let owner = self.owner();
        match self.chance.below(20) {
            0 => {
                let keep = self.some_of(owner);
                let keep_positions: Vec<LogPosition> =
                    keep.iter().copied().map(LogPosition).collect();
                let position = log.batch().purge(OwnerId(owner), &keep_positions);
                self.called(position, Call::Purge(owner, keep));
            }
            1 if self.chance.one_in(3) => {
                let position = log.batch().forget(OwnerId(owner));
                self.called(position, Call::Forget(owner));
                self.owners.retain(|other| *other != owner);
                self.owners.push(self.next_owner);
                self.next_owner += 1;
            }
            2 | 3 => {
                let some = self.some_of(owner);
                let positions: Vec<LogPosition> = some.iter().copied().map(LogPosition).collect();
                let count = self.chance.below(5) as u32;
                if !some.is_empty() {
                    let position = log
                        .batch()
                        .note_delivered(OwnerId(owner), count, &positions);
                    self.called(position, Call::Delivered(owner, count, some));
                }
            }
            4..=9 => {
                let mut some = self.some_of(owner);
                if self.chance.one_in(5) {
                    // What was released before, is another's, or never was.
                    let end = log.usage().last_position.0 + 3;
                    some.extend((0..4).map(|_| self.chance.below(end)));
                    let held = self.now.get(&owner);
                    let mut seen = std::collections::BTreeSet::new();
                    let alive =
                        |p: &&u64| seen.insert(**p) && held.is_some_and(|h| h.contains_key(*p));
                    self.not_alive += (some.len() - some.iter().filter(alive).count()) as u64;
                }
                let positions: Vec<LogPosition> = some.iter().copied().map(LogPosition).collect();
                if !some.is_empty() {
                    let position = log.batch().release(OwnerId(owner), &positions);
                    self.called(position, Call::Release(owner, some));
                }
            }
            _ => self.push(log),
        }
    }

    /// Compares what an owner reads with what the model has.
    fn check_owner(&mut self, log: &Log, owner: u64) -> Result<(), String> {
        let expected = self.now.get(&owner).cloned().unwrap_or_default();
        let limit = ReadLimit {
            messages: 1 + self.chance.below(20) as usize,
            bytes: 1 + self.chance.below(5000) as usize,
        };
        let mut found = BTreeMap::new();
        let mut wrong = None;
        let mut from = LogPosition(0);
        loop {
            let next = log.read(OwnerId(owner), from, limit, &mut |stored| {
                let held = expected.get(&stored.position.0);
                let tag = held.map_or(0, |held| held.tag);
                let same = held.is_some_and(|held| stored.payload == payload(tag, held.bytes));
                if !same
                    || found
                        .last_key_value()
                        .is_some_and(|(last, _)| *last >= stored.position)
                {
                    wrong = Some(stored.position);
                }
                let held = Held {
                    tag,
                    bytes: stored.payload.len(),
                    expires_ms: stored.expires_ms,
                    priority: stored.priority,
                    delivery_count: stored.delivery_count,
                    redelivered: stored.redelivered,
                    transient: stored.transient,
                };
                found.insert(stored.position, held);
            });
            match next.map_err(|error| format!("owner {owner} reads: {error}"))? {
                Some(next) => from = next,
                None => break,
            }
        }
        ensure!(
            wrong.is_none(),
            "owner {owner} reads what it should not: {wrong:?}"
        );
        let found: BTreeMap<u64, Held> = found.into_iter().map(|(p, held)| (p.0, held)).collect();
        for (position, held) in &found {
            self.digest = self.digest.wrapping_mul(31) ^ position ^ held.tag;
        }
        ensure!(
            found == expected,
            "owner {owner}:\nread     {found:?}\nexpected {expected:?}"
        );
        ensure!(
            log.messages(OwnerId(owner)) == found.len() as u64,
            "owner {owner} counts {}",
            log.messages(OwnerId(owner))
        );
        Ok(())
    }

    /// The state after an open must be that of the calls up to the recovered position.
    fn recovered(&mut self, recovery: &Recovery, durable: u64) -> Result<(), String> {
        let last = recovery.last_position.0;
        ensure!(
            last >= durable,
            "position {durable} was durable, {last} was recovered"
        );
        let mut state = std::mem::take(&mut self.base);
        for (position, call) in self.calls.drain(..) {
            if position <= last {
                apply(&mut state, position, &call);
            }
        }
        for held in state.values_mut() {
            held.retain(|_, held| !held.transient);
        }
        self.base = state.clone();
        let owners: Vec<(u64, u64, u64)> = state
            .iter()
            .filter(|(_, held)| !held.is_empty())
            .map(|(owner, held)| {
                let weight = held.values().map(|held| held.bytes as u64).sum();
                (*owner, held.len() as u64, weight)
            })
            .collect();
        let found: Vec<(u64, u64, u64)> = recovery
            .owners
            .iter()
            .map(|o| (o.owner.0, o.messages, o.weight))
            .collect();
        ensure!(owners == found, "recovered {found:?}, expected {owners:?}");
        self.now = state;
        self.not_alive = 0;
        Ok(())
    }
}

/// What a run did, to compare two of them.
#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
struct Trace {
    digest: u64,
    operations: u64,
    bytes_written: u64,
    opens: u64,
    segments_seen: u64,
}

fn run(seed: u64, deliberate_fault: DeliberateFault) -> Result<Trace, String> {
    let disk = SimDisk::new(seed ^ 0xD15C);
    let world = Arc::new(Mutex::new(World::new(seed)));
    let mut trace = Trace::default();
    let mut durable = 0;
    let mut closed = false;
    let mut options = Options {
        log_file_bytes: if seed.is_multiple_of(2) { 4096 } else { 16384 },
        deliberate_fault,
        ..Options::default()
    };
    let lives = 2 + world.lock().chance.below(4);
    for _ in 0..lives {
        options.durability = if world.lock().chance.one_in(5) {
            Durability::Os
        } else {
            Durability::Fsync
        };
        let (log, recovery, retried) = open(&disk, &options, &world)?;
        trace.opens += 1;
        ensure!(
            !closed || recovery.clean || retried,
            "it was closed cleanly and recovery does not know"
        );
        world.lock().recovered(&recovery, durable)?;
        durable = recovery.last_position.0;
        check_all(&log, &world)?;
        hook(&disk, &log, &world);
        closed = live(
            &disk,
            &log,
            &world,
            &mut trace,
            options.durability,
            &mut durable,
        )?;
        disk.on_operation(None);
        if let Some(error) = world.lock().error.take() {
            return Err(error);
        }
        disk.power_off();
        disk.power_on();
        disk.limit(u64::MAX);
    }
    let (log, recovery, _) = open(&disk, &options, &world)?;
    world.lock().recovered(&recovery, durable)?;
    while log.keep_step(true).map_err(|error| error.to_string())? {
        log.check_invariants();
    }
    check_all(&log, &world)?;
    trace.digest = world.lock().digest;
    trace.operations = disk.operations();
    trace.bytes_written = disk.bytes_written();
    Ok(trace)
}

/// Opens, with the power going again and again while it does. Gives whether it took more than one try: then the
/// end before counts as unclean, since one that was nearly open cannot be told from one that delivered.
fn open(
    disk: &SimDisk,
    options: &Options,
    world: &Mutex<World>,
) -> Result<(Log, Recovery, bool), String> {
    let mut retried = false;
    loop {
        if world.lock().chance.one_in(3) {
            let soon = world.lock().chance.below(8);
            disk.plan(disk.operations() + soon, Fault::PowerCut);
        }
        let opened = Log::open(Arc::new(disk.clone()), options.clone());
        disk.plan_nothing();
        match opened {
            Ok(opened) => {
                opened.0.check_invariants();
                return Ok((opened.0, opened.1, retried));
            }
            Err(StorageError::Disk { .. }) if disk.is_off() => {
                retried = true;
                disk.power_on();
            }
            Err(error) => return Err(format!("it does not open: {error}")),
        }
    }
}

/// At any operation on the disk, others may call and read.
fn hook(disk: &SimDisk, log: &Log, world: &Arc<Mutex<World>>) {
    let log = log.clone();
    let world = Arc::clone(world);
    let off = disk.clone();
    disk.on_operation(Some(Box::new(move |_| {
        let world = &mut *world.lock();
        if world.chance.one_in(3) {
            world.call(&log);
        }
        if world.chance.one_in(10) && !off.is_off() {
            let owner = world.owner();
            if let Err(error) = world.check_owner(&log, owner) {
                world.error.get_or_insert(error);
            }
        }
    })));
}

fn check_all(log: &Log, world: &Mutex<World>) -> Result<(), String> {
    let owners = world.lock().owners.clone();
    for owner in owners {
        world.lock().check_owner(log, owner)?;
    }
    Ok(())
}

/// Calls and steps until the end of this life. Gives whether it was closed cleanly.
fn live(
    disk: &SimDisk,
    log: &Log,
    world: &Mutex<World>,
    trace: &mut Trace,
    durability: Durability,
    durable: &mut u64,
) -> Result<bool, String> {
    let steps = 5 + world.lock().chance.below(60);
    let kind = world.lock().chance.below(8);
    let fault = match kind {
        0 => Some(Fault::Io),
        1 => Some(Fault::Full),
        2 => None,
        _ => Some(Fault::PowerCut),
    };
    if let Some(fault) = fault {
        let when = world.lock().chance.below(steps);
        disk.plan(disk.operations() + when, fault);
    }
    if world.lock().chance.one_in(6) {
        disk.limit(disk.bytes() + world.lock().chance.below(20_000));
    }
    for _ in 0..steps {
        let choice = world.lock().chance.below(16);
        match choice {
            0..=5 => {
                log.write_step();
            }
            6 => log.mark_idle(),
            7 | 8 => match log.keep_step(choice == 7) {
                Ok(_) | Err(StorageError::Failed(_) | StorageError::Disk { .. }) => {}
                Err(error) => return Err(format!("the keeper: {error}")),
            },
            9 if !disk.is_off() => {
                let world = &mut *world.lock();
                let owner = world.owner();
                world.check_owner(log, owner)?;
            }
            _ => world.lock().call(log),
        }
        if durability == Durability::Fsync {
            *durable = (*durable).max(log.durable().0);
        }
        trace.segments_seen = trace.segments_seen.max(log.usage().segments as u64);
        log.check_invariants();
        ensure!(
            log.usage().releases_not_alive == world.lock().not_alive,
            "releases of what is not alive are counted"
        );
        if log.failure().is_some() {
            break;
        }
    }
    if world.lock().chance.one_in(4) && !disk.is_off() {
        disk.on_operation(None);
        if log.close().is_ok() {
            *durable = log.usage().last_position.0;
            return Ok(true);
        }
    }
    Ok(false)
}

fn count(default: u64) -> u64 {
    let count = std::env::var("STORAGE_HISTORIES").ok();
    count
        .and_then(|count| count.parse().ok())
        .unwrap_or(default)
}

#[test]
fn what_is_durable_survives_and_nothing_comes_back() {
    if let Some(seed) = std::env::var("STORAGE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        run(seed, DeliberateFault::None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        return;
    }
    let mut segments = 0;
    for seed in 0..count(600) {
        let result = std::panic::catch_unwind(|| run(seed, DeliberateFault::None));
        match result {
            Ok(Ok(trace)) => segments += trace.segments_seen,
            Ok(Err(error)) => panic!("STORAGE_SEED={seed}: {error}"),
            Err(_) => panic!("STORAGE_SEED={seed} panicked"),
        }
    }
    assert!(segments > 0, "the histories reach segments");
}

#[test]
fn same_seed_same_run() {
    for seed in 0..20 {
        let first = run(seed, DeliberateFault::None);
        assert_eq!(first, run(seed, DeliberateFault::None), "seed {seed}");
    }
}

/// The first seed whose run fails with this fault in the log.
fn caught(fault: DeliberateFault) -> Option<(u64, String)> {
    (0..400).find_map(|seed| run(seed, fault).err().map(|error| (seed, error)))
}

#[test]
fn a_confirm_before_the_sync_is_caught() {
    let (_, error) = caught(DeliberateFault::ConfirmBeforeSync).expect("it is caught");
    assert!(error.contains("was durable"), "{error}");
}

#[test]
fn a_skipped_sync_of_names_is_caught() {
    let (_, error) = caught(DeliberateFault::SkipNameSync).expect("it is caught");
    assert!(
        error.contains("was durable") || error.contains("missing"),
        "{error}"
    );
}
