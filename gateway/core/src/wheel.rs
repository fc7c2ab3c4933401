//! The timers of one thread's connections: a hashed timing wheel (Varghese and Lauck, SOSP 1987, scheme 6).
//!
//! Each connection has at most one timer, named by its slot. Scheduling and cancelling are O(1): the timers of a place are
//! a doubly linked list through one slab. A timer never fires early and up to one tick late. Sessions re-arm lazily: what
//! is received only changes a field of the session, and the timer, when it fires, asks the session for the next time.
//!
//! A thread sleeps until [`Wheel::next_look`]: which places hold timers is kept as bits, so that the answer costs a few
//! instructions and a thread without timers does not wake at all.

use switchyard_schema::ids::Millis;

use crate::limits::{WHEEL_PLACES, WHEEL_TICK_MS};

/// Which connection a timer is for.
pub type Slot = u32;

/// Bytes of user memory that a slot's timer takes.
pub const TIMER_BYTES: usize = size_of::<Timer>();

const NONE: u32 = u32::MAX;

/// The timers of one thread.
#[derive(Debug)]
pub struct Wheel {
    /// The first timer of each place, or `NONE`.
    places: Box<[u32]>,
    /// A bit for each place that may hold timers.
    used: [u64; WHEEL_PLACES / 64],
    timers: Vec<Timer>,
    /// Ticks are counted from this time.
    start: Millis,
    /// The first tick that has not been fired.
    tick: u32,
    armed: usize,
}

#[derive(Copy, Clone, Debug)]
struct Timer {
    /// When it is due; `IDLE` when it is not armed.
    due_tick: u32,
    next: u32,
    /// The timer before it, or `NONE` when it is the first of its place.
    previous: u32,
}

const IDLE: u32 = u32::MAX;
const UNARMED: Timer = Timer { due_tick: IDLE, next: NONE, previous: NONE };

impl Wheel {
    /// A wheel without timers.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self::with_capacity(now, 0)
    }

    /// A wheel without timers that has room for those of `slots` slots. Memory that no slot has used yet is asked for and
    /// not touched, so a wheel that never grows costs what it holds and nothing is ever copied.
    #[must_use]
    pub fn with_capacity(now: Millis, slots: usize) -> Self {
        const { assert!(WHEEL_PLACES.is_multiple_of(64)) };
        Self {
            places: vec![NONE; WHEEL_PLACES].into_boxed_slice(),
            used: [0; WHEEL_PLACES / 64],
            timers: Vec::with_capacity(slots),
            start: now,
            tick: 0,
            armed: 0,
        }
    }

    /// Timers that are armed.
    #[must_use]
    pub const fn armed(&self) -> usize {
        self.armed
    }

    /// Arms the slot's timer for `at`, instead of when it was armed for before. A time that is over fires with the next
    /// [`Wheel::advance`] that reaches a new tick.
    pub fn schedule(&mut self, slot: Slot, at: Millis) {
        let index = slot as usize;
        if index >= self.timers.len() {
            self.timers.resize(index + 1, UNARMED);
        }
        self.cancel(slot);
        // Whoever asks for a time decades away is asked again then.
        let after_ticks = at.since(self.start).div_ceil(WHEEL_TICK_MS);
        let due_tick = u32::try_from(after_ticks).unwrap_or(IDLE).clamp(self.tick, IDLE - 1);
        let place = place_of(due_tick);
        self.used[place / 64] |= 1 << (place % 64);
        let first = std::mem::replace(&mut self.places[place], slot);
        self.timers[index] = Timer { due_tick, next: first, previous: NONE };
        if first != NONE {
            self.timers[first as usize].previous = slot;
        }
        self.armed += 1;
    }

    /// Disarms the slot's timer, if it is armed.
    pub fn cancel(&mut self, slot: Slot) {
        let Some(timer) = self.timers.get_mut(slot as usize) else { return };
        let Timer { due_tick, next, previous } = std::mem::replace(timer, UNARMED);
        if due_tick == IDLE {
            return;
        }
        match previous {
            NONE => self.places[place_of(due_tick)] = next,
            previous => self.timers[previous as usize].next = next,
        }
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
        self.armed -= 1;
    }

    /// Disarms what is due at `now` and appends its slots to `due`, at most `due_max` of them; what is left over comes
    /// with the next call. Answers whether something was left over.
    pub fn advance(&mut self, now: Millis, due: &mut Vec<Slot>, due_max: usize) -> bool {
        let now_tick = u32::try_from(now.since(self.start) / WHEEL_TICK_MS).unwrap_or(IDLE - 1);
        let mut left = due_max;
        // After a long pause one round sees every place; the ticks in between need no round of their own.
        let round = u32::try_from(self.places.len()).expect("a wheel has few places");
        let first_tick = self.tick.max((now_tick + 1).saturating_sub(round));
        for tick in first_tick..=now_tick {
            let mut slot = self.places[place_of(tick)];
            while slot != NONE {
                let Timer { due_tick, next, .. } = self.timers[slot as usize];
                if due_tick <= now_tick {
                    if left == 0 {
                        self.tick = tick;
                        return true;
                    }
                    left -= 1;
                    self.cancel(slot);
                    due.push(slot);
                }
                slot = next;
            }
            self.tick = tick + 1;
        }
        false
    }

    /// When to call [`Wheel::advance`] next: nothing is due before. It may find nothing even then, when the timers of that
    /// place are for a later round. `None` when no timer is armed.
    #[must_use]
    pub fn next_look(&mut self) -> Option<Millis> {
        if self.armed == 0 {
            return None;
        }
        let from = place_of(self.tick);
        loop {
            let place = self.next_used(from)?;
            if self.places[place] != NONE {
                let ahead = (place + WHEEL_PLACES - from) % WHEEL_PLACES;
                return Some(self.start.plus((u64::from(self.tick) + ahead as u64) * WHEEL_TICK_MS));
            }
            self.used[place / 64] &= !(1 << (place % 64));
        }
    }

    /// The first place at or behind `from`, around the wheel, whose bit is set.
    fn next_used(&self, from: usize) -> Option<usize> {
        let words = self.used.len();
        (0..=words).find_map(|step| {
            let index = (from / 64 + step) % words;
            // Of the word that the search begins in, the places before `from` come last.
            let mask = match step {
                0 => u64::MAX << (from % 64),
                _ if step == words => !(u64::MAX << (from % 64)),
                _ => u64::MAX,
            };
            let word = self.used[index] & mask;
            (word != 0).then(|| index * 64 + word.trailing_zeros() as usize)
        })
    }
}

const fn place_of(tick: u32) -> usize {
    const { assert!(WHEEL_PLACES.is_power_of_two()) };
    tick as usize & (WHEEL_PLACES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [Slot; 0] = [];

    fn at(tick: u64) -> Millis {
        Millis(tick * WHEEL_TICK_MS)
    }

    fn fired(wheel: &mut Wheel, now: Millis) -> Vec<Slot> {
        let mut due = Vec::new();
        assert!(!wheel.advance(now, &mut due, usize::MAX));
        due.sort_unstable();
        due
    }

    #[test]
    fn given_timers_when_time_passes_then_each_fires_once_and_never_early() {
        let mut wheel = Wheel::new(at(10));
        wheel.schedule(0, at(12));
        wheel.schedule(1, Millis(at(12).0 + 1));
        wheel.schedule(2, at(12));
        assert_eq!(fired(&mut wheel, at(11)), NOTHING);
        assert_eq!(fired(&mut wheel, Millis(at(12).0 - 1)), NOTHING);
        assert_eq!(fired(&mut wheel, at(12)), [0, 2]);
        assert_eq!(fired(&mut wheel, Millis(at(12).0 + 1)), NOTHING);
        assert_eq!(fired(&mut wheel, at(13)), [1]);
        assert_eq!(wheel.armed(), 0);
        assert_eq!(fired(&mut wheel, at(5000)), NOTHING);
    }

    #[test]
    fn given_an_armed_timer_when_scheduled_again_or_cancelled_then_only_the_last_word_counts() {
        let mut wheel = Wheel::new(at(0));
        for slot in 0..4 {
            wheel.schedule(slot, at(5));
        }
        wheel.schedule(1, at(9));
        wheel.cancel(2);
        wheel.cancel(2);
        wheel.cancel(77);
        assert_eq!(wheel.armed(), 3);
        assert_eq!(fired(&mut wheel, at(8)), [0, 3]);
        assert_eq!(fired(&mut wheel, at(9)), [1]);
    }

    #[test]
    fn given_a_time_that_is_over_when_scheduled_then_it_fires_with_the_next_tick() {
        let mut wheel = Wheel::new(at(100));
        assert_eq!(fired(&mut wheel, at(100)), NOTHING);
        wheel.schedule(7, at(3));
        assert_eq!(fired(&mut wheel, at(101)), [7]);
    }

    #[test]
    fn given_timers_more_than_a_round_away_when_their_place_comes_by_then_they_wait_for_their_round() {
        let round = WHEEL_PLACES as u64;
        let mut wheel = Wheel::new(at(0));
        wheel.schedule(1, at(5));
        wheel.schedule(2, at(5 + round));
        wheel.schedule(3, at(5 + 2 * round));
        assert_eq!(fired(&mut wheel, at(5)), [1]);
        assert_eq!(fired(&mut wheel, at(4 + round)), NOTHING);
        assert_eq!(fired(&mut wheel, at(5 + round)), [2]);
        assert_eq!(fired(&mut wheel, at(50 * round)), [3]);
    }

    #[test]
    fn given_a_long_pause_when_time_moves_on_then_nothing_is_forgotten() {
        let mut wheel = Wheel::new(at(0));
        for slot in 0..2000 {
            wheel.schedule(slot, at(u64::from(slot)));
        }
        assert_eq!(fired(&mut wheel, at(1999)).len(), 2000);
    }

    #[test]
    fn given_more_due_than_a_turn_takes_when_advanced_then_the_rest_comes_with_the_next_turns() {
        let mut wheel = Wheel::new(at(0));
        for slot in 0..10 {
            wheel.schedule(slot, at(u64::from(slot % 3)));
        }
        let mut due = Vec::new();
        assert!(wheel.advance(at(1000), &mut due, 4));
        assert!(wheel.advance(at(1000), &mut due, 4));
        assert!(!wheel.advance(at(1000), &mut due, 4));
        due.sort_unstable();
        assert_eq!(due, (0..10).collect::<Vec<_>>());
        assert_eq!(wheel.armed(), 0);
    }

    #[test]
    fn given_any_schedule_when_compared_with_a_sorted_list_then_the_wheel_fires_the_same() {
        // A small linear congruential generator: the same operations on every run.
        let mut state = 1_u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut wheel = Wheel::new(at(0));
        let mut model: std::collections::BTreeMap<Slot, u64> = std::collections::BTreeMap::new();
        let mut now = 0;
        for _ in 0..20_000 {
            let slot = u32::try_from(random(50)).unwrap();
            match random(4) {
                0 | 1 => {
                    let due = now + 1 + random(1500);
                    wheel.schedule(slot, at(due));
                    model.insert(slot, due);
                }
                2 => {
                    wheel.cancel(slot);
                    model.remove(&slot);
                }
                _ => {
                    now += random(600);
                    let expected: Vec<Slot> =
                        model.iter().filter(|(_, due)| **due <= now).map(|(slot, _)| *slot).collect();
                    model.retain(|_, due| *due > now);
                    assert_eq!(fired(&mut wheel, at(now)), expected);
                }
            }
            assert_eq!(wheel.armed(), model.len());
            // Whoever sleeps until the next look misses none, and without timers sleeps for ever.
            let soonest = model.values().min().copied();
            let look = wheel.next_look();
            assert_eq!(look.is_some(), soonest.is_some());
            assert!(look <= soonest.map(at), "{look:?} is later than tick {soonest:?}");
        }
    }

    #[test]
    fn given_one_timer_when_asked_for_the_next_look_then_it_is_when_the_timer_is_due_or_its_place_comes_by() {
        let round = WHEEL_PLACES as u64;
        for (now, due, look) in [(0, 1, 1), (60, 64, 64), (300, 290 + round, 290 + round), (5, 10 + 3 * round, 10)] {
            let mut wheel = Wheel::new(at(0));
            assert_eq!(fired(&mut wheel, at(now)), NOTHING);
            wheel.schedule(9, at(due));
            assert_eq!(wheel.next_look(), Some(at(look)), "tick {now}, due {due}");
            wheel.cancel(9);
            assert_eq!(wheel.next_look(), None);
        }
    }
}
