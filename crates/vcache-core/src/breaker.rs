//! Owns the decision to leave a server alone that keeps failing: a breaker, whose whole state is one word, so that many processes can
//! share it without a lock.
//!
//! Closed, it lets everybody ask. After [`FAILURES`] failures in a row it opens: nobody asks, except one prober at a time, after a
//! pause that grows with each probe that fails. Any success closes it. A probe is a lease: whoever takes it and is never
//! heard of again holds up the others until its end, and no longer.
//! (M. Nygard, Release It!, 2007, "Circuit Breaker".)
//!
//! Times are milliseconds of a clock that all who share the word read, and that never goes back.

use std::sync::atomic::{AtomicU64, Ordering};

/// Failures in a row that open it. One or two happen to a server that is well: a connection that was closed while it
/// lay idle, a command behind a slow one.
pub const FAILURES: u8 = 3;

/// The pause before the first probe, in milliseconds. Each probe that fails doubles it.
pub const FIRST_PAUSE: u64 = 100;

/// The longest pause: how long a server may be back before it is asked again. Longer ones would save next to nothing, as there is one
/// prober for all.
pub const LONGEST_PAUSE: u64 = 1000;

/// Pauses are shorter by up to this part, so that many who lost one server do not come back at one moment.
const JITTER: f64 = 0.25;

/// A server that is well has answered by then, in milliseconds: who is ended from outside before has found out nothing.
const TELLING: u64 = 10;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Everybody: it is closed.
    Ordinary,
    /// One alone, until this time, to find out whether the server is back.
    Probe(u64),
}

impl Permit {
    /// Whether its holder has failed who was ended from outside after waiting so many milliseconds: a search that was cancelled, or whose
    /// statement_timeout is below the deadlines. A prober has in any case, so that the next one waits for its pause.
    pub fn has_failed_after(self, waited: u64) -> bool {
        self != Self::Ordinary || waited >= TELLING
    }
}

/// What a breaker has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All ask; so many failures in a row.
    Closed {
        /// Fewer than [`FAILURES`].
        failures: u8,
    },
    /// Nobody asks before a time.
    Open {
        /// Probes that have failed.
        probes: u8,
        /// When the next prober may ask.
        next: u64,
        /// Whether somebody has told of it.
        told: bool,
    },
}

const FRESH: State = State::Closed { failures: 0 };

/// One word, seen as the breaker of the server of this name. A word that holds another server's state is as good as new:
/// servers that are well write nothing, so two can share a word unless both fail.
#[derive(Clone, Copy)]
pub struct Breaker<'word> {
    word: &'word AtomicU64,
    tag: u64,
}

// From the highest bit: the tag of the server's name, open, told, failures or probes, the time.
const TIME_BITS: u32 = 41;
const COUNT_BITS: u32 = 8;
const TOLD: u64 = 1 << (TIME_BITS + COUNT_BITS);
const OPEN: u64 = TOLD << 1;
const TAG_SHIFT: u32 = TIME_BITS + COUNT_BITS + 2;
const TIME: u64 = (1 << TIME_BITS) - 1;

impl<'word> Breaker<'word> {
    /// The breaker in `word` of the server whose name has this hash.
    pub fn new(word: &'word AtomicU64, hash: u64) -> Self {
        Self { word, tag: hash >> TAG_SHIFT }
    }

    /// What it has come to.
    pub fn state(&self) -> State {
        self.read(self.word.load(Ordering::Acquire))
    }

    /// Asks for a permit; `None`: leave the server alone. A prober that has not reported within `lease` is given up.
    pub fn admit(&self, now: u64, lease: u64) -> Option<Permit> {
        match self.state() {
            State::Closed { .. } => Some(Permit::Ordinary),
            State::Open { next, .. } if now < next => None,
            // Of those that see it due, the one whose change comes first.
            State::Open { .. } => {
                let until = now.saturating_add(lease.max(1)).min(TIME);
                let due = |state| match state {
                    State::Open { probes, next, told } if now >= next => {
                        Some(State::Open { probes, next: until, told })
                    }
                    _ => None,
                };
                match self.change(due) {
                    Some(_) => Some(Permit::Probe(until)),
                    None if matches!(self.state(), State::Closed { .. }) => Some(Permit::Ordinary),
                    None => None,
                }
            }
        }
    }

    /// Who had this permit has failed. `jitter`: a random number from 0 to 1.
    pub fn failed(&self, permit: Permit, now: u64, jitter: f64) {
        let pause = |probes: u8| {
            let whole = FIRST_PAUSE.checked_shl(probes.into()).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
            now.saturating_add((whole as f64 * (1.0 - JITTER * jitter.clamp(0.0, 1.0))) as u64)
        };
        self.change(|state| match state {
            State::Closed { failures } if failures + 1 < FAILURES => Some(State::Closed { failures: failures + 1 }),
            State::Closed { .. } => Some(State::Open { probes: 0, next: pause(0), told: false }),
            State::Open { probes, next, told } if permit == Permit::Probe(next) => {
                // Beyond this many the pause no longer grows.
                let probes = (probes + 1).min(32);
                Some(State::Open { probes, next: pause(probes), told })
            }
            // It asked before the breaker opened, or was given up, and says nothing new.
            State::Open { .. } => None,
        });
    }

    /// Who had this permit has found out nothing. If it was to probe, somebody else may, at once.
    pub fn returned(&self, permit: Permit, now: u64) {
        self.change(|state| match state {
            State::Open { probes, next, told } if permit == Permit::Probe(next) => {
                Some(State::Open { probes, next: now, told })
            }
            _ => None,
        });
    }

    /// The server has answered somebody. Whether that ends what had been told.
    pub fn succeeded(&self) -> bool {
        let was = self.change(|state| (state != FRESH).then_some(FRESH));
        matches!(was, Some(State::Open { told: true, .. }))
    }

    /// Whether the caller is the one to tell that it has opened.
    pub fn to_tell(&self) -> bool {
        if !matches!(self.state(), State::Open { told: false, .. }) {
            return false;
        }
        let untold = |state| match state {
            State::Open { probes, next, told: false } => Some(State::Open { probes, next, told: true }),
            _ => None,
        };
        self.change(untold).is_some()
    }

    /// Puts what `next` makes of the state in its place; what it was, or `None` if it stays.
    fn change(&self, next: impl Fn(State) -> Option<State>) -> Option<State> {
        let update = |word| next(self.read(word)).map(|state| self.write(state));
        let was = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, update);
        was.ok().map(|word| self.read(word))
    }

    fn read(&self, word: u64) -> State {
        let count = (word >> TIME_BITS) as u8;
        match word {
            _ if word >> TAG_SHIFT != self.tag => FRESH,
            _ if word & OPEN == 0 => State::Closed { failures: count },
            _ => State::Open { probes: count, next: word & TIME, told: word & TOLD != 0 },
        }
    }

    fn write(&self, state: State) -> u64 {
        let rest = match state {
            State::Closed { failures } => u64::from(failures) << TIME_BITS,
            State::Open { probes, next, told } => {
                OPEN | if told { TOLD } else { 0 } | (u64::from(probes) << TIME_BITS) | next.min(TIME)
            }
        };
        (self.tag << TAG_SHIFT) | rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    const NAME: u64 = 0x1234_5678_9abc_def0;
    const LEASE: u64 = 200;

    fn opened(word: &AtomicU64, now: u64) -> Breaker<'_> {
        let breaker = Breaker::new(word, NAME);
        for _ in 0..FAILURES {
            assert_eq!(breaker.admit(now, LEASE), Some(Permit::Ordinary));
            breaker.failed(Permit::Ordinary, now, 0.0);
        }
        breaker
    }

    fn probed(breaker: Breaker<'_>, now: u64) -> Permit {
        let permit = breaker.admit(now, LEASE);
        assert_eq!(permit, Some(Permit::Probe(now + LEASE)));
        permit.unwrap()
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_does_not_let_them() {
        let word = AtomicU64::new(0);
        let breaker = Breaker::new(&word, NAME);
        for _ in 0..10 {
            for failures in 1..FAILURES {
                breaker.failed(Permit::Ordinary, 5, 0.0);
                assert_eq!(breaker.state(), State::Closed { failures });
            }
            assert!(!breaker.succeeded());
        }
        let breaker = opened(&word, 1000);
        assert_eq!(breaker.state(), State::Open { probes: 0, next: 1000 + FIRST_PAUSE, told: false });
        assert_eq!(breaker.admit(1000 + FIRST_PAUSE - 1, LEASE), None);
    }

    #[test]
    fn one_probes_and_its_pauses_grow() {
        let word = AtomicU64::new(0);
        let mut now = 1000;
        let breaker = opened(&word, now);
        now += FIRST_PAUSE;
        for pause in [200, 400, 800, LONGEST_PAUSE, LONGEST_PAUSE] {
            let permit = probed(breaker, now);
            assert_eq!(breaker.admit(now, LEASE), None);
            breaker.failed(permit, now + 50, 0.0);
            now += 50 + pause;
            assert_eq!(breaker.admit(now - 1, LEASE), None, "{pause}");
        }
        for _ in 0..300 {
            now += LONGEST_PAUSE;
            breaker.failed(probed(breaker, now), now, 1.0);
        }
        now += LONGEST_PAUSE;
        probed(breaker, now);
        breaker.succeeded();
        assert_eq!(breaker.state(), FRESH);
        assert_eq!(breaker.admit(now, LEASE), Some(Permit::Ordinary));
    }

    #[test]
    fn those_that_asked_before_it_opened_change_nothing_unless_they_succeed() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        let before = breaker.state();
        for _ in 0..500 {
            breaker.failed(Permit::Ordinary, 1050, 0.0);
        }
        assert_eq!(breaker.state(), before);
        breaker.succeeded();
        assert_eq!(breaker.state(), FRESH);
    }

    #[test]
    fn a_lease_of_no_time_is_still_one_at_a_time() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        assert_eq!(breaker.admit(1100, 0), Some(Permit::Probe(1101)));
        assert_eq!(breaker.admit(1100, 0), None, "one at a time");
        assert_eq!(breaker.admit(1101, 0), Some(Permit::Probe(1102)));
    }

    #[test]
    fn a_prober_that_is_never_heard_of_again_holds_it_up_for_its_lease() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        let first = probed(breaker, 1100);
        assert_eq!(breaker.admit(1100 + LEASE - 1, LEASE), None);
        let second = probed(breaker, 1100 + LEASE);
        breaker.failed(first, 1100 + LEASE, 0.0);
        assert_eq!(breaker.admit(1100 + 2 * LEASE - 1, LEASE), None, "it was given up, and ends no other's lease");
        breaker.failed(second, 1100 + LEASE, 0.0);
        assert!(matches!(breaker.state(), State::Open { probes: 1, .. }));
    }

    #[test]
    fn a_probe_that_is_returned_goes_to_the_next_who_asks() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        let first = probed(breaker, 1100);
        breaker.returned(first, 1110);
        let second = probed(breaker, 1110);
        breaker.returned(first, 1120);
        assert_eq!(breaker.admit(1120, LEASE), None, "it was another's to return");
        breaker.failed(second, 1120, 0.0);
        assert_eq!(breaker.state(), State::Open { probes: 1, next: 1320, told: false });
        breaker.returned(Permit::Ordinary, 1130);
        assert_eq!(breaker.admit(1319, LEASE), None);
    }

    #[test]
    fn each_opening_is_told_once_and_its_end_only_if_it_was() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        assert!(breaker.to_tell() && !breaker.to_tell());
        breaker.failed(probed(breaker, 1100), 1100, 0.0);
        assert!(!breaker.to_tell(), "a probe that fails is no news");
        assert!(breaker.succeeded() && !breaker.succeeded());
        assert!(!breaker.to_tell());
        assert!(!opened(&word, 3000).succeeded());
    }

    #[test]
    fn a_probe_tells_nobody_that_it_has_opened() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        breaker.failed(probed(breaker, 1100), 1100, 0.0);
        let permit = probed(breaker, 1300);
        breaker.returned(permit, 1300);
        assert!(breaker.to_tell() && !breaker.to_tell());
        let (next, pause) = (probed(breaker, 1300), 400);
        breaker.failed(next, 1300, 0.0);
        breaker.returned(probed(breaker, 1300 + pause), 1300 + pause);
        assert!(!breaker.to_tell(), "told once is told");
        assert!(breaker.succeeded());
    }

    #[test]
    fn who_is_ended_at_once_has_not_failed_unless_it_probes() {
        assert!(!Permit::Ordinary.has_failed_after(0) && !Permit::Ordinary.has_failed_after(TELLING - 1));
        assert!(Permit::Ordinary.has_failed_after(TELLING) && Permit::Probe(5).has_failed_after(0));
    }

    #[test]
    fn another_server_finds_it_closed_and_leaves_it_as_it_is_while_it_is_well() {
        let word = AtomicU64::new(0);
        let breaker = opened(&word, 1000);
        let other = Breaker::new(&word, !NAME);
        assert_eq!(other.admit(1000, LEASE), Some(Permit::Ordinary));
        assert!(!other.succeeded());
        assert_eq!(breaker.admit(1000, LEASE), None);
        other.failed(Permit::Ordinary, 1000, 0.0);
        assert_eq!((breaker.state(), other.state()), (FRESH, State::Closed { failures: 1 }));
    }

    #[test]
    fn of_many_that_come_at_once_one_probes() {
        for round in 0..50 {
            let word = AtomicU64::new(0);
            opened(&word, round);
            let (barrier, probers) = (Barrier::new(8), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        barrier.wait();
                        let permit = Breaker::new(&word, NAME).admit(round + FIRST_PAUSE, LEASE);
                        probers.fetch_add(usize::from(matches!(permit, Some(Permit::Probe(_)))), Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(probers.into_inner(), 1);
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Pass(u64),
        Ask,
        Fail(usize),
        Succeed(usize),
        Return(usize),
        Vanish(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u64..400).prop_map(Event::Pass),
            Just(Event::Ask),
            Just(Event::Ask),
            (0usize..8).prop_map(Event::Fail),
            (0usize..8).prop_map(Event::Fail),
            (0usize..8).prop_map(Event::Succeed),
            (0usize..8).prop_map(Event::Return),
            (0usize..8).prop_map(Event::Vanish),
        ]
    }

    proptest! {
        /// Whatever becomes of those that ask: one probes at a time, and after a lease and a pause somebody may ask.
        #[test]
        fn one_probes_at_a_time_and_it_is_never_stuck(events in prop::collection::vec(event(), 0..200), jitter in 0.0..1.0) {
            let word = AtomicU64::new(0);
            let breaker = Breaker::new(&word, NAME);
            let mut now = 0;
            let mut asking = Vec::new();
            for event in events {
                match event {
                    Event::Pass(time) => now += time,
                    Event::Ask => if let Some(permit) = breaker.admit(now, LEASE) {
                        let probing = |other: &Permit| matches!(other, Permit::Probe(until) if now < *until);
                        prop_assert!(permit == Permit::Ordinary || !asking.iter().any(probing));
                        asking.push(permit);
                    },
                    Event::Fail(which) if which < asking.len() => {
                        breaker.failed(asking.swap_remove(which), now, jitter);
                    }
                    Event::Succeed(which) if which < asking.len() => {
                        asking.swap_remove(which);
                        breaker.succeeded();
                        // All are let in again: those that still probe do so beside the others.
                        asking.retain(|permit| *permit == Permit::Ordinary);
                        prop_assert_eq!(breaker.state(), FRESH);
                    }
                    Event::Return(which) if which < asking.len() => {
                        breaker.returned(asking.swap_remove(which), now);
                    }
                    Event::Vanish(which) if which < asking.len() => drop(asking.swap_remove(which)),
                    _ => {}
                }
                if let State::Closed { failures } = breaker.state() {
                    prop_assert!(failures < FAILURES);
                }
            }
            prop_assert!(breaker.admit(now + LEASE.max(LONGEST_PAUSE), LEASE).is_some());
        }

        /// Every state is what it was when it was written.
        #[test]
        fn a_word_holds_a_state(hash: u64, probes in 0u8..=32, next in 0..TIME, told: bool, failures in 1..FAILURES) {
            let word = AtomicU64::new(0);
            let breaker = Breaker::new(&word, hash);
            for state in [State::Open { probes, next, told }, State::Closed { failures }] {
                word.store(breaker.write(state), Ordering::Relaxed);
                prop_assert_eq!(breaker.state(), state);
            }
        }
    }
}
