//! The timers of one thread's connections: a hashed timing wheel (Varghese and Lauck, SOSP 1987, scheme 6).
//!
//! Each connection has at most one timer, named by its slot. Scheduling and cancelling are O(1): the timers of a place are
//! a doubly linked list through one slab. A timer never fires early and up to one tick late. Sessions re-arm lazily: what
//! is received only changes a field of the session, and the timer, when it fires, asks the session for the next time.

use switchyard_schema::ids::Millis;

use crate::limits::{WHEEL_PLACES, WHEEL_TICK_MS};

/// Which connection a timer is for.
pub type Slot = u32;

const NONE: u32 = u32::MAX;

/// The timers of one thread.
#[derive(Debug)]
pub struct Wheel {
    /// The first timer of each place, or `NONE`.
    places: Box<[u32]>,
    timers: Vec<Timer>,
    /// The first tick that has not been fired.
    tick: u64,
    armed: usize,
}

#[derive(Copy, Clone, Debug)]
struct Timer {
    /// When it is due; `IDLE` when it is not armed.
    due_tick: u64,
    next: u32,
    /// The timer before it, or `NONE` when it is the first of its place.
    previous: u32,
}

const IDLE: u64 = u64::MAX;

impl Wheel {
    /// A wheel without timers.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self {
            places: vec![NONE; WHEEL_PLACES].into_boxed_slice(),
            timers: Vec::new(),
            tick: now.0 / WHEEL_TICK_MS,
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
            self.timers.resize(index + 1, Timer { due_tick: IDLE, next: NONE, previous: NONE });
        }
        self.cancel(slot);
        let due_tick = at.0.div_ceil(WHEEL_TICK_MS).max(self.tick).min(IDLE - 1);
        let place = place_of(due_tick);
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
        let Timer { due_tick, next, previous } =
            std::mem::replace(timer, Timer { due_tick: IDLE, next: NONE, previous: NONE });
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
        let now_tick = now.0 / WHEEL_TICK_MS;
        let mut left = due_max;
        // After a long pause one round sees every place; the ticks in between need no round of their own.
        let first_tick = self.tick.max((now_tick + 1).saturating_sub(self.places.len() as u64));
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
}

#[expect(clippy::cast_possible_truncation, reason = "masked to the number of places")]
const fn place_of(tick: u64) -> usize {
    const { assert!(WHEEL_PLACES.is_power_of_two()) };
    (tick & (WHEEL_PLACES as u64 - 1)) as usize
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
        }
    }
}
