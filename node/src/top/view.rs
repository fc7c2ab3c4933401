//! The picture on a terminal: how it stands in four boxes, its course in three curves, each core on a line.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row, Sparkline, Table};

use super::model::{GatewayCore, Picture, RouterCore};
use super::units::{bytes, count, micros, number, percent, size};

/// What is shown beside the figures.
#[derive(Copy, Clone, Debug)]
pub(super) struct Shown<'a> {
    pub(super) admin: SocketAddr,
    pub(super) interval: Duration,
    /// Why the figures are old.
    pub(super) trouble: Option<&'a str>,
}

/// Rows of the boxes, borders included.
const BOX_ROWS: u16 = 8;
/// Four boxes beside each other cut their text in fewer columns; then there are three.
const WIDE_COLUMNS_MIN: u16 = 100;
/// Rows of a table besides its cores: borders and names.
const TABLE_EXTRA_ROWS: usize = 3;
/// A thread that is busy for this share of the time is nearly all that it can be.
const BUSY: f64 = 0.9;

/// Draws the newest picture and the course of those before.
pub(super) fn draw(frame: &mut Frame<'_>, shown: &Shown<'_>, history: &VecDeque<Picture>) {
    let [head, rest, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    let Some(now) = history.back() else {
        let seconds = shown.interval.as_secs_f64();
        frame.render_widget(Line::from(format!(" switchyard at {}", shown.admin)).bold(), head);
        frame.render_widget(Line::from(format!(" the first figures come in {seconds} s")), rest);
        return draw_foot(frame, foot, shown);
    };
    let gateway_rows = Constraint::Length(rows_of(now.gateways.len()));
    let router_rows = Constraint::Length(rows_of(now.routers.len()));
    let [boxes, curves, gateways, routers] =
        Layout::vertical([Constraint::Length(BOX_ROWS), Constraint::Fill(1), gateway_rows, router_rows]).areas(rest);
    draw_head(frame, head, shown, now);
    draw_boxes(frame, boxes, now);
    draw_curves(frame, curves, history);
    draw_gateways(frame, gateways, &now.gateways);
    draw_routers(frame, routers, &now.routers);
    draw_foot(frame, foot, shown);
}

fn rows_of(cores: usize) -> u16 {
    u16::try_from(cores + TABLE_EXTRA_ROWS).unwrap_or(u16::MAX)
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, shown: &Shown<'_>, now: &Picture) {
    let state = match (now.faults, now.is_ready) {
        (0, true) => " ready ".black().on_green(),
        (0, false) => " not ready: see /readyz ".black().on_yellow(),
        (faults, _) => format!(" {faults} faults: see /healthz ").white().on_red(),
    };
    let uptime = humantime::format_duration(Duration::from_secs(now.uptime.as_secs()));
    let left = Line::from(vec![format!(" switchyard {} at {} ", now.version, shown.admin).bold(), state]);
    let parts = [
        format!("cpu {}", percent(now.cpu)),
        format!("memory {}", size(now.resident_bytes)),
        format!("up {uptime}"),
        format!("disk free {} ", size(now.data_free_bytes)),
    ];
    // As many as fit beside what stands on the left.
    let rooms = (1..=parts.len()).rev().map(|shown| Line::from(parts[..shown].join(" · ")).right_aligned());
    if let Some(right) = rooms.into_iter().find(|right| left.width() + right.width() < usize::from(area.width)) {
        frame.render_widget(right, area);
    }
    frame.render_widget(left, area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, shown: &Shown<'_>) {
    match shown.trouble {
        Some(trouble) => frame.render_widget(Line::from(format!(" {trouble}")).white().on_red(), area),
        None => {
            let every = humantime::format_duration(shown.interval);
            frame.render_widget(Line::from(format!(" rates are by the second, over {every}; q ends")).dim(), area);
        }
    }
}

/// A name, a value, and whether that is something to look at.
type Entry = (String, String, bool);

fn entry(name: impl Into<String>, value: String) -> Entry {
    (name.into(), value, false)
}

fn draw_boxes(frame: &mut Frame<'_>, area: Rect, now: &Picture) {
    let Picture { connections, messages, commits, rings, .. } = now;
    let shown = if area.width >= WIDE_COLUMNS_MIN { 4 } else { 3 };
    let areas = Layout::horizontal(vec![Constraint::Fill(1); shown]).split(area);
    let is_nearly_full = connections.max > 0 && connections.all * 10 > connections.max * 9;
    let worst = now.refused.iter().max_by(|one, other| one.1.total_cmp(&other.1));
    let refused = worst.map_or_else(|| "refused".to_owned(), |(code, _)| format!("refused, most {code}"));
    let boxes: [(&str, Vec<Entry>); 4] = [
        (
            "connections",
            vec![
                (
                    "all, of at most".to_owned(),
                    format!("{} / {}", count(connections.all), count(connections.max)),
                    is_nearly_full,
                ),
                entry("open", count(connections.open)),
                entry("opening", count(connections.opening)),
                entry("echo · closing", format!("{} · {}", count(connections.echoing), count(connections.closing))),
                entry("accepts", number(connections.accepts_per_s)),
                ("failed handshakes".to_owned(), number(connections.failures_per_s), connections.failures_per_s > 0.0),
            ],
        ),
        (
            "messages",
            vec![
                entry("in", format!("{} · {}", number(messages.received_per_s), bytes(messages.received_bytes_per_s))),
                entry("out", format!("{} · {}", number(messages.sent_per_s), bytes(messages.sent_bytes_per_s))),
                entry("accepted", number(messages.accepted_per_s)),
                entry("delivered", number(messages.delivered_per_s)),
                (refused, number(messages.refused_per_s), messages.refused_per_s > 0.0),
                entry("sessions behind", count(now.behind.0)),
            ],
        ),
        (
            "commits and rings",
            vec![
                entry("p50", micros(commits.p50_us)),
                entry("p99", micros(commits.p99_us)),
                entry("commits", format!("{} · {}", number(commits.per_s), bytes(commits.bytes_per_s))),
                entry("records in one", commits.records_mean.map_or_else(|| "–".to_owned(), number)),
                entry("ring depth", count(rings.depth)),
                ("ring stalls".to_owned(), number(rings.stalls_per_s), rings.stalls_per_s > 0.0),
            ],
        ),
        ("memory", now.memory.iter().map(|(part, held)| entry(*part, size(*held))).collect()),
    ];
    for (&area, (title, entries)) in areas.iter().zip(boxes) {
        let width = usize::from(area.width.saturating_sub(4));
        let lines: Vec<Line<'_>> = entries.into_iter().map(|entry| aligned(entry, width)).collect();
        frame.render_widget(Paragraph::new(lines).block(block(title)), area);
    }
}

/// The name on the left, the value on the right. The value is never cut; the name may be.
fn aligned((name, value, matters): Entry, width: usize) -> Line<'static> {
    let room = width.saturating_sub(value.chars().count() + 1);
    let name: String = name.chars().take(room).collect();
    let gap = " ".repeat(width.saturating_sub(name.chars().count() + value.chars().count()));
    let value = if matters { value.yellow().bold() } else { value.bold() };
    Line::from(vec![Span::from(" "), name.dim(), Span::from(gap), value])
}

fn draw_curves(frame: &mut Frame<'_>, area: Rect, history: &VecDeque<Picture>) {
    let areas: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).areas(area);
    curve(frame, areas[0], ("open", number, Color::Cyan), history, |picture| as_f64(picture.connections.open));
    curve(frame, areas[1], ("accepted", number, Color::Green), history, |picture| picture.messages.accepted_per_s);
    let p99 = |us: f64| micros(Some(us));
    curve(frame, areas[2], ("commit p99", p99, Color::Magenta), history, |picture| {
        picture.commits.p99_us.unwrap_or(0.0)
    });
}

#[expect(clippy::cast_precision_loss, reason = "a curve has few rows")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a curve of whole numbers that are not negative"
)]
fn curve(
    frame: &mut Frame<'_>,
    area: Rect,
    (name, write, colour): (&str, fn(f64) -> String, Color),
    history: &VecDeque<Picture>,
    value: impl Fn(&Picture) -> f64,
) {
    let shown = history.len().saturating_sub(usize::from(area.width.saturating_sub(2)));
    let values: Vec<f64> = history.iter().skip(shown).map(value).collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    let data: Vec<u64> = values.iter().map(|value| value.round() as u64).collect();
    let title = format!("{name}, at most {}", write(highest));
    frame.render_widget(Sparkline::default().data(data).style(Style::new().fg(colour)).block(block(&title)), area);
}

fn draw_gateways(frame: &mut Frame<'_>, area: Rect, cores: &[GatewayCore]) {
    let names = ["gateway", "cpu", "connections", "open", "in", "out", "refused", "ring", "stalls", "waiting"];
    let rows = cores.iter().map(|core| {
        [
            Cell::from(core.core.clone()),
            busy(core.cpu),
            Cell::from(count(core.connections)),
            Cell::from(count(core.open)),
            Cell::from(number(core.received_per_s)),
            Cell::from(number(core.sent_per_s)),
            Cell::from(number(core.refused_per_s)),
            Cell::from(count(core.rings.depth)),
            Cell::from(number(core.rings.stalls_per_s)),
            Cell::from(size(core.waiting_bytes)),
        ]
    });
    draw_table(frame, area, "gateway cores", names, rows);
}

fn draw_routers(frame: &mut Frame<'_>, area: Rect, cores: &[RouterCore]) {
    let names = ["router", "cpu", "journal", "commits", "records", "p50", "p99", "ring", "behind", "memory"];
    let rows = cores.iter().map(|core| {
        let journal = Cell::from(core.journal.clone());
        [
            Cell::from(core.core.clone()),
            busy(core.cpu),
            if core.journal == "ready" { journal } else { journal.style(Style::new().white().on_red()) },
            Cell::from(number(core.commits.per_s)),
            Cell::from(core.commits.records_mean.map_or_else(|| "–".to_owned(), number)),
            Cell::from(micros(core.commits.p50_us)),
            Cell::from(micros(core.commits.p99_us)),
            Cell::from(count(core.rings.depth)),
            Cell::from(count(core.behind)),
            Cell::from(size(core.memory_bytes)),
        ]
    });
    draw_table(frame, area, "router cores", names, rows);
}

/// The processor time of a thread, which is alarming when it has no more to give.
fn busy(cpu: f64) -> Cell<'static> {
    let cell = Cell::from(percent(cpu));
    if cpu >= BUSY { cell.style(Style::new().yellow().bold()) } else { cell }
}

fn draw_table<const COLUMNS: usize>(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    names: [&'static str; COLUMNS],
    rows: impl ExactSizeIterator<Item = [Cell<'static>; COLUMNS]>,
) {
    let (all, room) = (rows.len(), usize::from(area.height).saturating_sub(TABLE_EXTRA_ROWS));
    let title = if all > room { format!("{title}, {room} of {all}") } else { title.to_owned() };
    let table = Table::new(rows.map(Row::new), [Constraint::Fill(1); COLUMNS])
        .header(Row::new(names).dim())
        .column_spacing(1)
        .block(block(&title));
    frame.render_widget(table, area);
}

fn block(title: &str) -> Block<'static> {
    Block::bordered().border_type(BorderType::Rounded).border_style(Style::new().dim()).title(format!(" {title} "))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::{Commits, Connections, Messages};
    use super::*;

    fn picture() -> Picture {
        let commits = Commits { per_s: 900.0, p50_us: Some(210.0), p99_us: Some(1_450.0), ..Commits::default() };
        Picture {
            version: "1.2.3".to_owned(),
            is_ready: true,
            connections: Connections { all: 950, max: 1_000, open: 940, ..Connections::default() },
            messages: Messages { accepted_per_s: 12_345.0, refused_per_s: 3.0, ..Messages::default() },
            refused: vec![("draining".to_owned(), 1.0), ("overloaded".to_owned(), 2.0)],
            commits,
            memory: vec![("state", 1 << 20)],
            gateways: vec![GatewayCore { core: "0".to_owned(), cpu: 0.97, ..GatewayCore::default() }; 3],
            routers: vec![RouterCore {
                core: "7".to_owned(),
                journal: "failed".to_owned(),
                commits,
                ..RouterCore::default()
            }],
            ..Picture::default()
        }
    }

    fn drawn(width: u16, height: u16, shown: &Shown<'_>, history: &VecDeque<Picture>) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
        terminal.draw(|frame| draw(frame, shown, history)).expect("it draws");
        terminal.backend().to_string()
    }

    const SHOWN: Shown<'static> = Shown {
        admin: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7401),
        interval: Duration::from_secs(1),
        trouble: None,
    };

    #[test]
    fn given_a_picture_when_drawn_then_every_part_is_there() {
        let text = drawn(120, 40, &SHOWN, &VecDeque::from([picture(), picture()]));
        for part in [
            "switchyard 1.2.3 at 127.0.0.1:7401",
            "ready",
            "950 / 1.00k",
            "12.3k",
            "refused, most overlo",
            "210 µs",
            "1.45 ms",
            "state",
            "1.00 MiB",
            "gateway cores",
            "97 %",
            "router cores",
            "failed",
            "at most 12.3k",
            "q ends",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn given_trouble_or_nothing_yet_when_drawn_then_it_says_so() {
        let trouble = Shown { trouble: Some("no server answers"), ..SHOWN };
        assert!(drawn(80, 24, &trouble, &VecDeque::from([picture()])).contains("no server answers"));
        assert!(drawn(80, 24, &SHOWN, &VecDeque::new()).contains("the first figures come in 1 s"));
    }

    #[test]
    fn given_a_terminal_of_any_size_when_drawn_then_nothing_breaks_and_what_does_not_fit_is_told() {
        let history = VecDeque::from([picture()]);
        for (width, height) in [(1, 1), (5, 3), (20, 10), (80, 24), (300, 100)] {
            drawn(width, height, &SHOWN, &history);
        }
        assert!(drawn(80, 18, &SHOWN, &history).contains(" of 3"), "{}", drawn(80, 18, &SHOWN, &history));
    }
}
