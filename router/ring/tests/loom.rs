//! Every interleaving of the wake-up and of the credit protocol, as far as loom's memory model goes.
//! `RUSTFLAGS="--cfg loom" cargo test --release -p switchyard-ring --test loom`
#![cfg(loom)]

use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use switchyard_ring::{Consumer, Credits, Parker, link, wake};

/// What an eventfd does: a signal is kept until it is taken.
#[derive(Default)]
struct Signal {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    fn raise(&self) {
        *self.set.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn take(&self) {
        let mut set = self.set.lock().unwrap();
        while !*set {
            set = self.changed.wait(set).unwrap();
        }
        *set = false;
    }
}

/// The consumer of `crate::wake`'s documentation. With a lost wake-up nobody raises the signal any more, and loom reports
/// the deadlock.
fn receive(wanted: usize, links: &[Consumer<usize>], parker: &Parker, signal: &Signal) -> usize {
    let (mut received, mut sum) = (0, 0);
    while received < wanted {
        let mut idle = true;
        for message in links.iter().filter_map(Consumer::pop) {
            (received, sum, idle) = (received + 1, sum + message, false);
        }
        if idle {
            parker.prepare_park();
            if links.iter().all(Consumer::is_empty) {
                signal.take();
            }
            parker.awake();
        }
    }
    sum
}

#[test]
fn given_one_producer_and_a_consumer_that_parks_then_no_wake_up_is_lost() {
    loom::model(|| {
        let signal = Arc::new(Signal::default());
        let raise = signal.clone();
        let (parker, waker) = wake::pair(move || raise.raise());
        let (producer, consumer) = link(0, 2);
        let sender = thread::spawn(move || {
            for message in [1, 2] {
                producer.try_push(message).unwrap();
                waker.notify();
            }
        });
        assert_eq!(receive(2, &[consumer], &parker, &signal), 3);
        sender.join().unwrap();
    });
}

#[test]
fn given_two_producers_on_one_waker_then_no_wake_up_is_lost() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let signal = Arc::new(Signal::default());
        let raise = signal.clone();
        let (parker, waker) = wake::pair(move || raise.raise());
        let (links, senders): (Vec<_>, Vec<_>) = [1, 2]
            .map(|message| {
                let ((producer, consumer), waker) = (link(0, 1), waker.clone());
                let sender = thread::spawn(move || {
                    producer.try_push(message).unwrap();
                    waker.notify();
                });
                (consumer, sender)
            })
            .into_iter()
            .unzip();
        assert_eq!(receive(2, &links, &parker, &signal), 3);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// A flag that the consumer sets after its check, not before, is the classic lost wake-up. The models above would be
/// worthless if they could not find it.
#[test]
fn given_a_consumer_that_checks_before_it_prepares_then_a_model_finds_the_lost_wake_up() {
    static LOST: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    loom::model(|| {
        let signal = Arc::new(Signal::default());
        let raise = signal.clone();
        let (parker, waker) = wake::pair(move || raise.raise());
        let (producer, consumer) = link(0, 1);
        let sender = thread::spawn(move || {
            producer.try_push(1).unwrap();
            waker.notify();
        });
        let would_wait = consumer.is_empty();
        parker.prepare_park();
        sender.join().unwrap();
        if would_wait && !*signal.set.lock().unwrap() {
            LOST.store(true, Ordering::Relaxed);
        }
    });
    assert!(LOST.load(Ordering::Relaxed));
}

/// The asking side pushes requests with credits; the answering side answers each in a reserved slot while it also fills
/// the open slots. `push_reserved` asserts that it fits.
#[test]
fn given_every_open_slot_taken_then_an_answer_always_fits() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        const REQUESTS: usize = 2;
        let (requests, to_answer) = link::<()>(1, 0);
        let (answers, to_receive) = link::<bool>(1, 1);
        let open_pushed = Arc::new(AtomicUsize::new(0));
        let counted = open_pushed.clone();
        let answering = thread::spawn(move || {
            let mut answered = 0;
            while answered < REQUESTS {
                if answers.try_push(false).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                match to_answer.pop() {
                    Some(()) => {
                        answers.push_reserved(true);
                        answered += 1;
                    }
                    None => thread::yield_now(),
                }
            }
        });
        let (mut credits, mut sent, mut returned, mut open_popped) = (Credits::new(1), 0, 0, 0);
        while returned < REQUESTS {
            if sent < REQUESTS && credits.take() {
                requests.push_reserved(());
                sent += 1;
            }
            match to_receive.pop() {
                Some(true) => {
                    credits.put_back();
                    returned += 1;
                }
                Some(false) => open_popped += 1,
                None => thread::yield_now(),
            }
        }
        answering.join().unwrap();
        while to_receive.pop().is_some() {
            open_popped += 1;
        }
        assert_eq!((credits.free(), open_popped), (1, open_pushed.load(Ordering::Relaxed)));
    });
}
