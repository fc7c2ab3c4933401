//! Every link full in both directions, and traffic still completes: nobody waits for room while others wait for them.
#![cfg(not(loom))]

use std::thread;

use switchyard_ring::{Consumer, Credits, EventFd, Parker, Producer, Waker, link, wake};

const PEERS: usize = 3;
const CREDITS: usize = 4;
const OPEN: usize = 2;
const REQUESTS_PER_PEER: usize = 20_000;

enum Message {
    /// Held a credit of the receiver.
    Request(usize),
    /// Returns it.
    Answer(usize),
    /// No credit; may not fit.
    Nudge,
}

/// One end of a pair of links.
struct Peer {
    out: Producer<Message>,
    back: Consumer<Message>,
    waker: Waker,
    credits: Credits,
    requested: usize,
    answered: usize,
    nudges_left: usize,
}

impl Peer {
    /// Fills every slot that this side may fill. `true` when anything was pushed.
    fn fill(&mut self) -> bool {
        let mut pushed = false;
        while self.requested < REQUESTS_PER_PEER && self.credits.take() {
            self.out.push_reserved(Message::Request(self.requested));
            self.requested += 1;
            pushed = true;
        }
        while self.nudges_left > 0 && self.out.try_push(Message::Nudge).is_ok() {
            self.nudges_left -= 1;
            pushed = true;
        }
        pushed
    }

    /// Nothing to pop and nothing that could be pushed.
    fn is_stuck(&self) -> bool {
        self.back.is_empty()
            && (self.nudges_left == 0 || self.out.room() == 0)
            && (self.requested == REQUESTS_PER_PEER || self.credits.free() == 0)
    }

    fn done(&self, nudges: usize) -> bool {
        self.answered == REQUESTS_PER_PEER && self.nudges_left == 0 && nudges == REQUESTS_PER_PEER * PEERS
    }
}

/// One thread: pops everything, answers requests at once, tops up what it sends, parks when nothing moves.
fn run(mut peers: Vec<Peer>, parker: &Parker, event: &EventFd) {
    let (mut nudges, mut answers_given) = (0, 0);
    loop {
        let mut moved = false;
        for peer in &mut peers {
            moved |= peer.fill();
            while let Some(message) = peer.back.pop() {
                moved = true;
                match message {
                    Message::Request(number) => {
                        peer.out.push_reserved(Message::Answer(number));
                        answers_given += 1;
                    }
                    Message::Answer(number) => {
                        assert_eq!(number, peer.answered, "answers keep their order");
                        peer.answered += 1;
                        peer.credits.put_back();
                    }
                    Message::Nudge => nudges += 1,
                }
            }
        }
        if moved {
            // What was pushed is news for the other side, and so is the room that popping made.
            peers.iter().for_each(|peer| peer.waker.notify());
        }
        if answers_given == REQUESTS_PER_PEER * PEERS && peers.iter().all(|peer| peer.done(nudges)) {
            return;
        }
        if !moved {
            parker.prepare_park();
            if peers.iter().all(Peer::is_stuck) {
                event.wait().expect("an eventfd can be read");
            }
            parker.awake();
        }
    }
}

#[test]
fn given_every_link_full_both_ways_then_all_requests_are_answered_and_all_nudges_arrive() {
    let ends: Vec<_> = (0..2 * PEERS)
        .map(|_| {
            let event = EventFd::new().expect("a descriptor is free");
            let signalled = event.clone();
            let (parker, waker) = wake::pair(move || signalled.signal());
            (parker, waker, event)
        })
        .collect();
    // Each side's requests and the answers to the other side's requests hold credits: twice CREDITS a direction.
    let mut sides: Vec<Vec<Peer>> = (0..2 * PEERS).map(|_| Vec::new()).collect();
    for left in 0..PEERS {
        for right in PEERS..2 * PEERS {
            let ((to_right, from_left), (to_left, from_right)) = (link(2 * CREDITS, OPEN), link(2 * CREDITS, OPEN));
            for (owner, other, out, back) in [(left, right, to_right, from_right), (right, left, to_left, from_left)] {
                sides[owner].push(Peer {
                    out,
                    back,
                    waker: ends[other].1.clone(),
                    credits: Credits::new(CREDITS),
                    requested: 0,
                    answered: 0,
                    nudges_left: REQUESTS_PER_PEER,
                });
            }
        }
    }
    // Both sides of every link start full, before any thread pops.
    for peer in sides.iter_mut().flatten() {
        peer.fill();
        assert_eq!((peer.credits.free(), peer.out.room()), (0, 0));
    }
    let threads: Vec<_> = sides
        .into_iter()
        .zip(ends)
        .map(|(peers, (parker, _, event))| thread::spawn(move || run(peers, &parker, &event)))
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no assertion failed"));
}
