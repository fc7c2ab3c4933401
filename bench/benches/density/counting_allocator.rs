//! An allocator that keeps a ledger while it is told to: what was asked for, by which thread, from which place, and is not
//! given back.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use mimalloc::MiMalloc;

/// Frames of a call stack that tell one place from another.
const FRAMES: usize = 40;

static RECORDING: AtomicBool = AtomicBool::new(false);
static LEDGER: Mutex<Option<Ledger>> = Mutex::new(None);

thread_local! {
    /// The ledger's own memory is in no ledger.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Where memory was asked for: return addresses, innermost first, ended by zeros.
pub(crate) type Place = [usize; FRAMES];

/// What is not given back.
#[derive(Default)]
pub(crate) struct Ledger {
    live: HashMap<usize, Entry>,
}

/// One piece of memory.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) thread: String,
    pub(crate) place: Place,
    pub(crate) bytes: usize,
}

/// To be made the `#[global_allocator]`.
pub(crate) struct Accounting;

// SAFETY: every call goes to mimalloc as it came; what is written down beside it changes no memory of the caller.
unsafe impl GlobalAlloc for Accounting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        let pointer = unsafe { MiMalloc.alloc(layout) };
        note(None, Some((pointer, layout.size())));
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(Some(pointer), None);
        // SAFETY: `pointer` came from mimalloc with this layout.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: `pointer` came from mimalloc with this layout.
        let moved = unsafe { MiMalloc.realloc(pointer, layout, bytes) };
        note(Some(pointer), Some((moved, bytes)));
        moved
    }
}

/// From now on everything is written down.
pub(crate) fn begin() {
    *LEDGER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ledger::default());
    RECORDING.store(true, Ordering::SeqCst);
}

/// What was written down and is not given back.
pub(crate) fn end() -> Vec<Entry> {
    RECORDING.store(false, Ordering::SeqCst);
    let ledger = LEDGER.lock().unwrap_or_else(PoisonError::into_inner).take();
    ledger.unwrap_or_default().live.into_values().collect()
}

fn note(freed: Option<*mut u8>, given: Option<(*mut u8, usize)>) {
    if !RECORDING.load(Ordering::Relaxed) || INSIDE.try_with(|inside| inside.replace(true)) != Ok(false) {
        return;
    }
    let entry = given.map(|(pointer, bytes)| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        (pointer.addr(), Entry { thread, place: place(), bytes })
    });
    if let Some(ledger) = LEDGER.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        if let Some(pointer) = freed {
            ledger.live.remove(&pointer.addr());
        }
        ledger.live.extend(entry);
    }
    INSIDE.set(false);
}

fn place() -> Place {
    let mut place = [0; FRAMES];
    let mut depth = 0;
    backtrace::trace(|frame| {
        place[depth] = frame.ip().addr();
        depth += 1;
        depth < FRAMES
    });
    place
}
