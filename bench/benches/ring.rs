//! What passing a message between threads costs: on one thread, streamed to another, and there and back.

use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use switchyard_ring::{Consumer, EventFd, Parker, Producer, Waker, link, wake};

const OPEN_SLOTS: usize = 1024;

fn same_thread(criterion: &mut Criterion) {
    let (producer, consumer) = link::<u64>(0, OPEN_SLOTS);
    criterion.bench_function("ring: push and pop on one thread", |bencher| {
        bencher.iter(|| {
            producer.try_push(black_box(7)).expect("room");
            consumer.pop()
        });
    });
}

fn stream(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("stream to another thread", |bencher| bencher.iter_custom(stream_for));
    group.bench_function("there and back between threads that park", |bencher| bencher.iter_custom(round_trips_for));
}

fn stream_for(messages: u64) -> Duration {
    let (producer, consumer) = link::<u64>(0, OPEN_SLOTS);
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        for mut message in 1..=messages {
            while let Err(back) = producer.try_push(message) {
                message = back;
                thread::yield_now();
            }
        }
    });
    let mut last = 0;
    while last < messages {
        match consumer.pop() {
            Some(message) => last = message,
            None => thread::yield_now(),
        }
    }
    sender.join().expect("the sender ends");
    begun.elapsed()
}

/// One end of a conversation of two threads, each parked on an eventfd while it has nothing to do.
struct End {
    producer: Producer<u64>,
    consumer: Consumer<u64>,
    parker: Parker,
    sleep: Arc<EventFd>,
    other: Waker,
}

impl End {
    fn send(&self, message: u64) {
        self.producer.try_push(message).expect("one message is under way");
        self.other.notify();
    }

    fn receive(&self) -> u64 {
        loop {
            if let Some(message) = self.consumer.pop() {
                return message;
            }
            self.parker.prepare_park();
            if self.consumer.is_empty() {
                self.sleep.wait().expect("an eventfd can be read");
            }
            self.parker.awake();
        }
    }
}

fn sleeper() -> (Parker, Waker, Arc<EventFd>) {
    let event = Arc::new(EventFd::new().expect("an eventfd"));
    let signalled = Arc::clone(&event);
    let (parker, waker) = wake::pair(move || signalled.signal());
    (parker, waker, event)
}

fn round_trips_for(count: u64) -> Duration {
    let ((there, there_end), (back, back_end)) = (link::<u64>(0, 4), link::<u64>(0, 4));
    let ((here_parker, here_waker, here_event), (far_parker, far_waker, far_event)) = (sleeper(), sleeper());
    let here = End { producer: there, consumer: back_end, parker: here_parker, sleep: here_event, other: far_waker };
    let far = End { producer: back, consumer: there_end, parker: far_parker, sleep: far_event, other: here_waker };
    let echo = thread::spawn(move || {
        for _ in 0..count {
            far.send(far.receive());
        }
    });
    let begun = Instant::now();
    for message in 0..count {
        here.send(message);
        assert_eq!(here.receive(), message);
    }
    let took = begun.elapsed();
    echo.join().expect("the echo ends");
    took
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = same_thread, stream
}
criterion_main!(benches);
