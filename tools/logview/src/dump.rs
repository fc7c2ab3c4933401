//! `dump`: every batch and record, as lines or as JSON.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use switchyard_log::batch::{BatchHeader, BatchKind};
use switchyard_log::record::{Payload, RecordView};
use switchyard_log::recovery::Visitor;
use switchyard_schema::ids::ConversationId;

use crate::folder::Folder;
use crate::{Failure, Verdict, text, verify};

/// How to print.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Json,
}

pub(crate) fn dump(
    dir: &Path,
    segment: Option<u32>,
    format: Format,
    bodies: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    let folder = Folder::open(dir)?;
    // One segment alone is read without the list: what surrounds it is not missing then.
    let manifest = match folder.manifest()? {
        Ok(manifest) if segment.is_none() => manifest,
        Ok(_) => None,
        Err(damage) => {
            eprintln!("logview: {}: {damage}; reading without it", folder.manifest_path().display());
            None
        }
    };
    let mut printer = Printer { out, format, bodies, failed: None };
    let found = folder.read(manifest, segment, &mut printer)?;
    if let Some(error) = printer.failed {
        return Err(error.into());
    }
    if found.statistics.segments_read == 0
        && let Some(number) = segment
    {
        let name = switchyard_log::segment::file_name(number);
        return Err(Failure::Refused(format!("there is no {name} in {}", folder.journal().display())));
    }
    if found.damages.is_empty() {
        return Ok(Verdict::Clean);
    }
    verify::findings(&found, &mut io::stderr())?;
    Ok(Verdict::Damaged)
}

struct Printer<'a> {
    out: &'a mut dyn Write,
    format: Format,
    bodies: bool,
    failed: Option<io::Error>,
}

impl Printer<'_> {
    /// Prints until something goes wrong; the first error is kept for the end.
    fn line(&mut self, line: impl FnOnce() -> String) {
        if self.failed.is_none() {
            self.failed = writeln!(self.out, "{}", line()).err();
        }
    }
}

impl Visitor for Printer<'_> {
    fn record(&mut self, view: &RecordView<'_>) {
        let bodies = self.bodies;
        match self.format {
            Format::Text => self.line(|| match view.payload {
                Payload::Message(message) if bodies => {
                    format!("{}  {}", text::record(view), BASE64_STANDARD.encode(message.body))
                }
                _ => text::record(view),
            }),
            Format::Json => self.line(|| record_json(view, bodies).to_string()),
        }
    }

    fn withheld(&mut self, view: &RecordView<'_>) {
        self.record(view);
    }

    fn batch(&mut self, header: &BatchHeader) {
        match self.format {
            Format::Text => self.line(|| {
                format!(
                    "{}  {} {} of core {} in run {}: {} records, {} bytes",
                    header.position,
                    kind_name(header.kind),
                    header.number,
                    header.core,
                    header.run,
                    header.record_count,
                    header.length,
                )
            }),
            Format::Json => self.line(|| batch_json(header).to_string()),
        }
    }
}

fn kind_name(kind: BatchKind) -> &'static str {
    match kind {
        BatchKind::Records => "batch",
        BatchKind::Idle => "mark_idle",
        BatchKind::Stop => "mark_stop",
    }
}

fn batch_json(header: &BatchHeader) -> Value {
    json!({
        "type": kind_name(header.kind),
        "segment": header.position.segment,
        "offset": header.position.offset,
        "number": header.number.to_string(),
        "core": header.core,
        "run": header.run,
        "records": header.record_count,
        "bytes": header.length,
    })
}

/// A record as JSON; numbers of 64 bits are strings, as on the wire.
fn record_json(view: &RecordView<'_>, bodies: bool) -> Value {
    let mut fields = match view.payload {
        Payload::Message(m) => {
            let mut fields = json!({
                "type": "message",
                "conversation": conversation(m.conversation),
                "sequence": m.sequence.0.to_string(),
                "message": m.message.to_string(),
                "sender": m.sender.to_string(),
                "device": m.device.to_string(),
                "client_message_id": m.client_message_id.to_string(),
                "time_ms": m.message.time().0.to_string(),
                "previous": view.previous.map(|at| at.to_string()),
                "body_bytes": m.body.len(),
            });
            if bodies {
                fields["body"] = BASE64_STANDARD.encode(m.body).into();
            }
            fields
        }
        Payload::Watermark(w) => json!({
            "type": "watermark",
            "conversation": conversation(w.conversation),
            "member": w.member.to_string(),
            "delivered": w.delivered.0.to_string(),
            "read": w.read.0.to_string(),
        }),
        Payload::Device(d) => json!({
            "type": "device",
            "user": d.user.to_string(),
            "device": d.device.to_string(),
            "last_seen_ms": d.last_seen.0.to_string(),
        }),
        Payload::Cursor(c) => json!({
            "type": "cursor",
            "user": c.user.to_string(),
            "device": c.device.to_string(),
            "conversation": conversation(c.conversation),
            "delivered": c.delivered.0.to_string(),
            "read": c.read.0.to_string(),
        }),
        Payload::Inbox(i) => json!({
            "type": "inbox",
            "user": i.user.to_string(),
            "conversation": conversation(i.conversation),
            "head": i.head.0.to_string(),
            "peer_delivered": i.peer_delivered.0.to_string(),
            "peer_read": i.peer_read.0.to_string(),
            "peer_moved_ms": i.peer_moved.0.to_string(),
        }),
    };
    let place: &mut Map<String, Value> = fields.as_object_mut().expect("every record is an object");
    place.insert("segment".into(), view.position.segment.into());
    place.insert("offset".into(), view.position.offset.into());
    place.insert("shard".into(), view.shard.0.into());
    place.insert("lsn".into(), view.lsn.to_string().into());
    fields
}

fn conversation(id: ConversationId) -> Value {
    id.to_string().into()
}
