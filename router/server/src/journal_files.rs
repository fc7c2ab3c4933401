//! A core's journal on DMA files: reads and new segments, each a task of its own that reports to the loop. Batches are
//! written by the core's own ring ([`crate::commit_ring`]).

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use glommio::io::{DmaFile, OpenOptions};
use switchyard_engine::JournalRead;
use switchyard_log::planner::SegmentTail;
use switchyard_log::segment::{SegmentHeader, ShardSet};
use switchyard_schema::ids::{Millis, ShardId};

use crate::blocking::blocking;
use crate::executor::io_error;
use crate::journal_folder::JournalFolder;
use crate::limits::OPEN_SEGMENTS_PER_CORE;
use crate::links::Rung;

/// What a task has to report.
#[derive(Debug)]
pub(crate) enum Report {
    /// A read of history.
    Read { read: JournalRead, bytes: io::Result<Bytes> },
    /// Another segment, open for writing.
    Segment(io::Result<SegmentHeader>),
    /// The manifest could not be written; it is stale, and recovery reads more.
    Manifest(io::Result<()>),
}

/// The files of one core.
#[derive(Clone, Debug)]
pub(crate) struct JournalFiles {
    inner: Rc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: u16,
    shards: ShardSet,
    folder: Arc<JournalFolder>,
    rung: Arc<Rung>,
    reports: RefCell<VecDeque<Report>>,
    /// Tasks that have not reported.
    under_way: Cell<usize>,
    /// Segments that this core writes, by number: the current one and the next.
    writing: RefCell<HashMap<u32, Rc<DmaFile>>>,
    /// Segments open for reading, the one used last at the back.
    reading: RefCell<VecDeque<(u32, Rc<DmaFile>)>>,
}

impl JournalFiles {
    pub(crate) fn new(core: u16, shards: ShardSet, folder: Arc<JournalFolder>, rung: Arc<Rung>) -> Self {
        Self {
            inner: Rc::new(Inner {
                core,
                shards,
                folder,
                rung,
                reports: RefCell::default(),
                under_way: Cell::new(0),
                writing: RefCell::default(),
                reading: RefCell::default(),
            }),
        }
    }

    /// The next report of a task.
    pub(crate) fn report(&self) -> Option<Report> {
        self.inner.reports.borrow_mut().pop_front()
    }

    pub(crate) fn has_report(&self) -> bool {
        !self.inner.reports.borrow().is_empty()
    }

    /// Whether tasks are under way: the executor must get the thread for them to go on.
    pub(crate) fn has_tasks(&self) -> bool {
        self.inner.under_way.get() > 0
    }

    /// Whether no task is under way and every report was taken. The loop does not end before.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_tasks() && !self.has_report()
    }

    /// Makes another segment and opens it.
    pub(crate) async fn make_segment(&self, now: Millis) -> io::Result<SegmentHeader> {
        let Inner { core, shards, folder, .. } = &*self.inner;
        let (core, shards, maker) = (*core, shards.clone(), folder.clone());
        let make = move || maker.make_segment(core, &shards, now);
        let header = blocking(make).await?;
        let path = folder.segment_path(header.number);
        let file = OpenOptions::new().write(true).dma_open(&path).await.map_err(io_error)?;
        self.inner.writing.borrow_mut().insert(header.number, Rc::new(file));
        Ok(header)
    }

    /// Begins to make another segment.
    pub(crate) fn begin_segment(&self, now: Millis) {
        let files = self.clone();
        self.spawn(async move { Report::Segment(files.make_segment(now).await) });
    }

    /// A segment that this core writes.
    ///
    /// # Panics
    /// When it was not made here, or is sealed.
    pub(crate) fn segment(&self, number: u32) -> Rc<DmaFile> {
        self.inner.writing.borrow().get(&number).expect("the engine knows only segments that are open").clone()
    }

    /// A segment is left behind: lists it as sealed, closes it.
    pub(crate) fn begin_seal(&self, tail: SegmentTail, now: Millis) {
        let file = self.inner.writing.borrow_mut().remove(&tail.number);
        let folder = self.inner.folder.clone();
        self.spawn(async move {
            if let Some(Ok(file)) = file.map(Rc::try_unwrap) {
                let _ = file.close().await;
            }
            Report::Manifest(blocking(move || folder.seal(&tail, now)).await)
        });
    }

    /// Tells the manifest what the store covers.
    pub(crate) fn begin_cover(&self, covered: Vec<(ShardId, u64)>) {
        let folder = self.inner.folder.clone();
        let cover = move || folder.cover(&covered);
        self.spawn(async move { Report::Manifest(blocking(cover).await) });
    }

    /// Begins a read of history.
    pub(crate) fn begin_read(&self, read: JournalRead) {
        let files = self.clone();
        self.spawn(async move { Report::Read { read, bytes: files.read(read).await } });
    }

    async fn read(&self, JournalRead { range, .. }: JournalRead) -> io::Result<Bytes> {
        let file = self.open(range.segment).await?;
        let read = file.read_at_aligned(u64::from(range.offset), range.bytes as usize).await.map_err(io_error)?;
        Ok(Bytes::copy_from_slice(&read))
    }

    async fn open(&self, segment: u32) -> io::Result<Rc<DmaFile>> {
        let reading = &self.inner.reading;
        let known = reading.borrow().iter().position(|(number, _)| *number == segment);
        if let Some(entry) = known.and_then(|index| reading.borrow_mut().remove(index)) {
            let file = entry.1.clone();
            reading.borrow_mut().push_back(entry);
            return Ok(file);
        }
        let file = Rc::new(DmaFile::open(self.inner.folder.segment_path(segment)).await.map_err(io_error)?);
        let mut reading = reading.borrow_mut();
        reading.push_back((segment, file.clone()));
        if reading.len() > OPEN_SEGMENTS_PER_CORE {
            reading.pop_front();
        }
        Ok(file)
    }

    fn spawn(&self, task: impl Future<Output = Report> + 'static) {
        let inner = self.inner.clone();
        inner.under_way.set(inner.under_way.get() + 1);
        glommio::spawn_local(async move {
            let report = task.await;
            inner.under_way.set(inner.under_way.get() - 1);
            inner.reports.borrow_mut().push_back(report);
            inner.rung.ring();
        })
        .detach();
    }
}
