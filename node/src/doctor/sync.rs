//! How fast the disk makes things durable: written as a router core writes its journal, to blocks that exist, past the page
//! cache, one batch at a time, each durable before the next.
//!
//! The file has no name (`O_TMPFILE`), so nothing is left behind however the examination ends.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use switchyard_tuning::Finding;
use switchyard_tuning::text::{bytes, grouped};

use super::limits::{SYNC_FILE_BYTES, SYNC_GOOD, SYNC_INCREDIBLE, SYNC_TIME_MAX, SYNC_WRITES_MAX};

/// The smallest batch: one block, as a single message takes.
const BLOCK_BYTES: usize = 4_096;
/// The batch of a busy core: half of the largest.
const BATCH_BYTES: usize = 256 * 1024;
/// What `O_DIRECT` buffers and offsets are aligned to.
const ALIGNMENT: usize = 4_096;

/// What to do about a disk that lacks something.
pub(super) const OTHER_DISK: &str = "choose a folder on ext4 or xfs with --data";

/// Times of durable writes, the shortest first.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Times(Vec<Duration>);

impl Times {
    fn percentile(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len() - 1);
        self.0[index]
    }
}

/// Why there are no times.
#[derive(Debug)]
enum Unmeasured {
    NoDirectIo,
    NoUnnamedFiles,
    Full,
    Io(io::Error),
}

pub(super) fn examine(folder: &Path) -> Vec<Finding> {
    match measure(folder) {
        Ok((blocks, batches)) => vec![
            Finding::pass("direct I/O", "works", "batches go past the page cache"),
            judge_latency(&blocks),
            judge_rate(&batches),
        ],
        Err(unmeasured) => vec![judge_unmeasured(folder, &unmeasured)],
    }
}

fn measure(folder: &Path) -> Result<(Times, Times), Unmeasured> {
    let flags = OFlags::TMPFILE | OFlags::DIRECT;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).mode(0o600).open(folder);
    let file = file.map_err(unmeasured)?;
    let mut memory = vec![0; BATCH_BYTES + ALIGNMENT];
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    let batch = &mut memory[start..start + BATCH_BYTES];
    for offset in (0..SYNC_FILE_BYTES).step_by(BATCH_BYTES) {
        file.write_all_at(batch, offset).map_err(unmeasured)?;
    }
    file.sync_all().map_err(unmeasured)?;
    batch.fill(0xa5);
    let blocks = time(&file, &batch[..BLOCK_BYTES]).map_err(unmeasured)?;
    let batches = time(&file, batch).map_err(unmeasured)?;
    Ok((blocks, batches))
}

/// Writes `content` again and again, one place after the other.
fn time(file: &File, content: &[u8]) -> io::Result<Times> {
    let length = content.len() as u64;
    let (begun, mut times) = (Instant::now(), Vec::with_capacity(SYNC_WRITES_MAX));
    for index in 0..SYNC_WRITES_MAX as u64 {
        let offset = index * length % SYNC_FILE_BYTES;
        let write = Instant::now();
        let written = pwritev2(file, &[IoSlice::new(content)], offset, ReadWriteFlags::DSYNC)?;
        if written != content.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        times.push(write.elapsed());
        if begun.elapsed() > SYNC_TIME_MAX {
            break;
        }
    }
    times.sort_unstable();
    Ok(Times(times))
}

fn unmeasured(error: io::Error) -> Unmeasured {
    match Errno::from_io_error(&error) {
        Some(Errno::INVAL) => Unmeasured::NoDirectIo,
        Some(Errno::OPNOTSUPP | Errno::ISDIR) => Unmeasured::NoUnnamedFiles,
        Some(Errno::NOSPC | Errno::DQUOT) => Unmeasured::Full,
        _ => Unmeasured::Io(error),
    }
}

fn judge_unmeasured(folder: &Path, unmeasured: &Unmeasured) -> Finding {
    const NAME: &str = "direct I/O";
    let folder = folder.display();
    match unmeasured {
        Unmeasured::NoDirectIo => Finding::fail(
            NAME,
            "not there",
            "the journal is written with O_DIRECT, and the server refuses to start",
            OTHER_DISK,
        ),
        Unmeasured::NoUnnamedFiles => Finding::warn(
            NAME,
            "not tried",
            "the file system has no files without a name, so nothing was measured",
            OTHER_DISK,
        ),
        Unmeasured::Full => {
            let needed = bytes(SYNC_FILE_BYTES);
            Finding::fail(
                NAME,
                format!("not tried: {folder} has no room for {needed}"),
                "the disk is full",
                "free space on it",
            )
        }
        Unmeasured::Io(error) => Finding::fail(
            NAME,
            format!("{folder}: {error}"),
            "the server has to write there as this user",
            format!("sudo -u USER switchyard doctor, with the user of the server; ls -ld {folder}"),
        ),
    }
}

fn judge_latency(blocks: &Times) -> Finding {
    const NAME: &str = "sync latency";
    let (median, worst) = (blocks.percentile(50), blocks.percentile(99));
    let found = format!("one block is durable in {} (p50), {} (p99)", ms(median), ms(worst));
    if median < SYNC_INCREDIBLE {
        Finding::warn(
            NAME,
            found,
            "no disk is that fast: something before it says durable and means memory, and a power failure loses what was \
             accepted",
            "look for a write-back cache without a battery, or a virtual disk with cache=unsafe",
        )
    } else if median > SYNC_GOOD {
        Finding::warn(
            NAME,
            found,
            "a message is delivered after one such write, so this is the shortest way from sender to recipient",
            "a disk that acknowledges faster: an SSD with power-loss protection; for a network volume, a class with more IOPS",
        )
    } else {
        Finding::pass(NAME, found, "a message is delivered after one")
    }
}

fn judge_rate(batches: &Times) -> Finding {
    let total: Duration = batches.0.iter().sum();
    let per_second = batches.0.len() as f64 / total.as_secs_f64().max(f64::EPSILON);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, shown rounded")]
    let (rate, speed) = (per_second as u64, (per_second * BATCH_BYTES as f64) as u64);
    let found = format!("{} batches of {} a second, one after the other", grouped(rate), bytes(BATCH_BYTES as u64));
    let meaning = format!("up to {} messages of 1 KiB a second, all router cores together", grouped(speed / 1024));
    Finding::pass("batch rate", found, meaning)
}

fn ms(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::*;

    fn all(micros: u64) -> Times {
        Times(vec![Duration::from_micros(micros); 10])
    }

    #[test]
    fn given_times_then_slow_and_incredible_ones_are_to_improve() {
        for (micros, expect) in
            [(2, Verdict::Warn), (150, Verdict::Pass), (1_900, Verdict::Pass), (9_000, Verdict::Warn)]
        {
            assert_eq!(judge_latency(&all(micros)).verdict, expect, "{micros} µs");
        }
        let rising = Times((1..=100).map(Duration::from_millis).collect());
        assert_eq!(
            (rising.percentile(50), rising.percentile(99)),
            (Duration::from_millis(51), Duration::from_millis(100))
        );
        assert!(judge_rate(&all(1_000)).found.starts_with("1,000 batches of 256 KiB"));
    }

    #[test]
    fn given_a_folder_on_a_disk_when_measured_then_nothing_is_left_there() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder on the disk of the checkout");
        let (blocks, batches) = measure(folder.path()).expect("it is measured");
        assert!(!blocks.0.is_empty() && !batches.0.is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).expect("it exists").count(), 0);
    }

    #[test]
    fn given_what_the_file_system_lacks_then_the_finding_says_so() {
        for (number, expect) in [(22, Verdict::Fail), (95, Verdict::Warn), (28, Verdict::Fail), (13, Verdict::Fail)] {
            let unmeasured = unmeasured(io::Error::from_raw_os_error(number));
            assert_eq!(judge_unmeasured(Path::new("/data"), &unmeasured).verdict, expect, "{unmeasured:?}");
        }
    }
}
