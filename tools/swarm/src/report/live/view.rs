//! The picture of a run: how it stands in four boxes of figures, its course in four charts.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, BorderType, Chart, Dataset, GraphType, Padding, Paragraph};

use crate::report::columns::COLUMNS;
use crate::report::history::Point;
use crate::report::units;

/// Rows that the figures take, borders included.
const FIGURES_ROWS: u16 = 6;
/// A chart in fewer rows shows nothing.
const CHART_ROWS_MIN: u16 = 6;
/// Four boxes beside each other are narrower than their text in fewer columns; then there are two by two.
const WIDE_COLUMNS_MIN: u16 = 80;
/// A box with fewer columns has none to spare for a margin.
const PADDED_COLUMNS_MIN: u16 = 21;

/// A line of a chart: the column it shows, what it is called, and its colour.
type Series = (&'static str, &'static str, Color);

/// A chart: its title, how its values are written, and its lines.
struct Plot {
    title: &'static str,
    format: fn(f64) -> String,
    series: &'static [Series],
}

const PLOTS: [Plot; 4] = [
    Plot {
        title: "connections",
        format: units::number,
        series: &[("open", "open", Color::Cyan), ("opening", "opening", Color::Yellow)],
    },
    Plot {
        title: "messages per second",
        format: units::number,
        series: &[("sent_per_s", "sent", Color::Blue), ("delivered_per_s", "delivered", Color::Green)],
    },
    Plot {
        title: "latency",
        format: units::micros,
        series: &[("p50_us", "p50", Color::Cyan), ("p99_us", "p99", Color::Magenta)],
    },
    Plot {
        title: "processor time",
        format: units::percent,
        series: &[("server_cpu_percent", "server", Color::Magenta), ("generator_cpu_percent", "swarm", Color::Yellow)],
    },
];

/// Draws a run as of its last point.
pub(super) fn draw(frame: &mut Frame<'_>, title: &str, points: &[Point]) {
    let now = points.last().copied().unwrap_or_default();
    let wide = frame.area().width >= WIDE_COLUMNS_MIN;
    let figures_rows = if wide { FIGURES_ROWS } else { 2 * FIGURES_ROWS };
    let [head, figures, charts, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(figures_rows),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, title, now.sample.at_s);
    for (area, (title, rows)) in quarters(figures, wide).into_iter().zip(boxes(&now)) {
        let margin = u16::from(area.width >= PADDED_COLUMNS_MIN);
        let block = block().title(format!(" {title} ")).padding(Padding::horizontal(margin));
        let width = block.inner(area).width;
        let rows: Vec<Line<'_>> = rows.into_iter().map(|row| row.line(width)).collect();
        frame.render_widget(Paragraph::new(rows).block(block), area);
    }
    draw_charts(frame, charts, points);
    frame.render_widget(Line::from(" Ctrl-C ends the run and writes what was measured").dim(), foot);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, title: &str, at_s: f64) {
    let clock = format!("{} ", clock(at_s));
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(11)]).areas(area);
    frame.render_widget(Line::from(format!(" {title}")).bold(), left);
    frame.render_widget(Line::from(clock).bold().right_aligned(), right);
}

/// A name on the left of a box and its value on the right.
struct Row {
    name: &'static str,
    value: String,
    style: Style,
}

impl Row {
    fn line(self, width: u16) -> Line<'static> {
        let room = usize::from(width).saturating_sub(self.name.len());
        let value = format!("{:>room$}", self.value);
        Line::from(vec![Span::from(self.name).dim(), Span::styled(value, self.style)])
    }
}

fn row(name: &'static str, value: String) -> Row {
    Row { name, value, style: Style::new().add_modifier(Modifier::BOLD) }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn boxes(point: &Point) -> [(&'static str, Vec<Row>); 4] {
    let sample = &point.sample;
    let count = |name, value: u64| row(name, units::number(value as f64));
    let bad = |name, value: u64| {
        let row = count(name, value);
        if value == 0 { row } else { Row { style: row.style.fg(Color::Red), ..row } }
    };
    let rate = |name, value: f64| row(name, format!("{}/s", units::number(value.round())));
    let latency =
        |name, us: u64| row(name, if sample.latency.count == 0 { "–".to_owned() } else { units::micros(us as f64) });
    let server = sample.server.as_ref();
    let unknown = || "–".to_owned();
    [
        (
            "connections",
            vec![
                count("open", sample.open),
                count("opening", sample.opening),
                bad("dropped", sample.dropped),
                bad("refused", sample.refused),
            ],
        ),
        (
            "messages",
            vec![
                rate("sent", point.sent_per_s),
                rate("accepted", point.accepted_per_s),
                rate("delivered", point.delivered_per_s),
                count("all sent", sample.sent),
            ],
        ),
        (
            "latency",
            vec![
                latency("p50", sample.latency.p50_us),
                latency("p90", sample.latency.p90_us),
                latency("p99", sample.latency.p99_us),
                latency("max", sample.latency.max_us),
            ],
        ),
        (
            "cost",
            vec![
                row("memory", server.map_or_else(unknown, |server| units::bytes(server.rss_bytes as f64))),
                row("server CPU", server.map_or_else(unknown, |server| format!("{:.0} %", server.cpu_percent))),
                row("swarm CPU", format!("{:.0} %", sample.generator_cpu_percent)),
            ],
        ),
    ]
}

/// As many of the charts as there is room for.
fn draw_charts(frame: &mut Frame<'_>, area: Rect, points: &[Point]) {
    if area.height >= 2 * CHART_ROWS_MIN {
        for (area, plot) in quarters(area, false).into_iter().zip(&PLOTS) {
            draw_chart(frame, area, plot, points);
        }
    } else if area.height >= CHART_ROWS_MIN {
        let halves: [Rect; 2] = Layout::horizontal([Constraint::Fill(1); 2]).areas(area);
        for (area, plot) in halves.into_iter().zip(&PLOTS) {
            draw_chart(frame, area, plot, points);
        }
    }
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, plot: &Plot, points: &[Point]) {
    let data: Vec<Vec<(f64, f64)>> = plot.series.iter().map(|(column, ..)| values(column, points)).collect();
    let top = data.iter().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
    let top = round_up(top);
    let end = points.last().map_or(1.0, |point| point.sample.at_s);
    let datasets = plot
        .series
        .iter()
        .zip(&data)
        .filter(|(_, data)| !data.is_empty())
        .map(|((.., color), data)| {
            Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(*color).data(data)
        })
        .collect();
    let mut title = vec![Span::from(format!(" {} ", plot.title))];
    for (_, label, color) in plot.series {
        title.push(Span::styled(format!("─ {label} "), *color));
    }
    let chart = Chart::new(datasets)
        .block(block().title(Line::from(title)))
        .x_axis(Axis::default().bounds([0.0, end]).labels([clock(0.0), clock(end)]).dim())
        .y_axis(
            Axis::default()
                .bounds([0.0, top])
                .labels([(plot.format)(0.0), (plot.format)(top / 2.0), (plot.format)(top)])
                .dim(),
        );
    frame.render_widget(chart, area);
}

/// A column over time.
fn values(name: &str, points: &[Point]) -> Vec<(f64, f64)> {
    let column = COLUMNS.iter().find(|column| column.name == name).expect("charts show columns that exist");
    points.iter().filter_map(|point| Some((point.sample.at_s, (column.value)(point)?))).collect()
}

/// The next of 1, 2, 4, 5 and 10 times a power of ten, so that a chart's scale stays still for a while.
fn round_up(top: f64) -> f64 {
    if top <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(top.log10().floor());
    [1.0, 2.0, 4.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= top).unwrap_or(10.0 * power)
}

/// Four equal parts, in a row or two by two.
fn quarters(area: Rect, in_a_row: bool) -> [Rect; 4] {
    if in_a_row {
        return Layout::horizontal([Constraint::Fill(1); 4]).areas(area);
    }
    let [above, below] = Layout::vertical([Constraint::Fill(1); 2]).areas(area);
    let halves = |area| -> [Rect; 2] { Layout::horizontal([Constraint::Fill(1); 2]).areas(area) };
    let ([a, b], [c, d]) = (halves(above), halves(below));
    [a, b, c, d]
}

fn block() -> Block<'static> {
    Block::bordered().border_type(BorderType::Rounded).border_style(Style::new().dim())
}

/// Minutes and seconds, with hours when there are any.
fn clock(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a run")]
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::latency::Percentiles;
    use crate::report::history::History;
    use crate::sample::{Sample, ServerSample};

    /// The screen after 75 seconds of a run, as text.
    fn screen(columns: u16, rows: u16) -> String {
        let mut history = History::default();
        for second in 1..=75_u32 {
            history.push(Sample {
                at_s: f64::from(second),
                open: 10_000,
                dropped: 3,
                sent: 2_000 * u64::from(second),
                delivered: 1_999 * u64::from(second),
                latency: Percentiles {
                    count: 1_999,
                    p50_us: 850,
                    p90_us: 1_200,
                    p99_us: 8_100,
                    p999_us: 9_000,
                    max_us: 21_000,
                },
                server: Some(ServerSample { rss_bytes: 812 << 20, cpu_percent: 43.2 }),
                ..Sample::default()
            });
        }
        let points: Vec<Point> = history.points().collect();
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
        terminal.draw(|frame| draw(frame, "swarm chat 127.0.0.1:7400", &points)).expect("drawn");
        terminal.backend().to_string()
    }

    #[test]
    fn given_a_run_when_drawn_then_figures_and_charts_are_on_the_screen() {
        for (columns, rows) in [(120, 40), (80, 24), (60, 40)] {
            let screen = screen(columns, rows);
            for text in
                ["swarm chat 127.0.0.1:7400", "1:15", "10,000", "2,000/s", "1,999/s", "850 µs", "8.10 ms", "812 MiB"]
            {
                assert!(screen.contains(text), "{columns} × {rows}: no {text} in\n{screen}");
            }
            for plot in &PLOTS {
                assert!(screen.contains(plot.title), "{columns} × {rows}: no chart of {} in\n{screen}", plot.title);
            }
        }
    }

    #[test]
    fn given_any_size_and_no_sample_yet_when_drawn_then_nothing_breaks() {
        for (columns, rows) in [(1, 1), (20, 3), (80, 8), (80, 14), (300, 100)] {
            screen(columns, rows);
            let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
            terminal.draw(|frame| draw(frame, "swarm", &[])).expect("drawn");
        }
    }

    #[test]
    fn given_the_top_of_a_chart_when_rounded_then_it_is_the_next_round_number() {
        for (top, expect) in [(0.0, 1.0), (1.0, 1.0), (1.1, 2.0), (2001.0, 4000.0), (4500.0, 5000.0), (7.0, 10.0)] {
            assert_eq!(round_up(top), expect, "{top}");
        }
    }
}
