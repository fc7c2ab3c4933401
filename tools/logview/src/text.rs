//! Times and records as a person reads them.

use std::fmt::Write;

use switchyard_log::record::{Payload, RecordView};
use switchyard_schema::ids::Millis;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// `2026-11-22T18:01:02.123Z` (RFC 3339).
pub(crate) fn time(at: Millis) -> String {
    let (year, month, day) = date(at.0 / DAY_MS);
    let ms = at.0 % DAY_MS;
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1000)
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// One line for a record, without its body.
pub(crate) fn record(view: &RecordView<'_>) -> String {
    let mut line = format!("{}  shard {} lsn {}  ", view.position, view.shard.0, view.lsn);
    let written = match view.payload {
        Payload::Message(m) => write!(
            line,
            "message {} conversation {} sequence {} sender {} device {} client {} time {} body {} bytes",
            m.message,
            m.conversation,
            m.sequence.0,
            m.sender,
            m.device,
            m.client_message_id,
            time(m.message.time()),
            m.body.len(),
        ),
        Payload::Watermark(w) => write!(
            line,
            "watermark conversation {} member {} delivered {} read {}",
            w.conversation, w.member, w.delivered.0, w.read.0
        ),
        Payload::Device(d) => {
            write!(line, "device user {} device {} last seen {}", d.user, d.device, time(d.last_seen))
        }
        Payload::Cursor(c) => write!(
            line,
            "cursor user {} device {} conversation {} delivered {} read {}",
            c.user, c.device, c.conversation, c.delivered.0, c.read.0
        ),
        Payload::Inbox(i) => write!(
            line,
            "inbox user {} conversation {} head {} peer delivered {} read {} moved {}",
            i.user,
            i.conversation,
            i.head.0,
            i.peer_delivered.0,
            i.peer_read.0,
            time(i.peer_moved)
        ),
    };
    written.expect("a String takes everything");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_times_when_written_then_they_are_of_the_calendar() {
        let check = |ms, expect: &str| assert_eq!(time(Millis(ms)), expect);
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_123, "2000-02-29T00:00:00.123Z");
        check(1_704_067_199_999, "2023-12-31T23:59:59.999Z");
        check(1_800_000_000_000, "2027-01-15T08:00:00.000Z");
    }
}
