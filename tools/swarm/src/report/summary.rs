//! The result of a run as people read it on a terminal.

use std::fmt::Write;

use super::Ending;
use super::units;

/// The figures, one a line, and what they come to.
pub(super) fn text(title: &str, ending: &Ending) -> String {
    let mut text = format!("{title}\n\n");
    let width = ending.figures.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, value) in &ending.figures {
        let value = units::figure(name, *value);
        writeln!(text, "  {name:<width$}  {value:>12}").expect("a string takes everything");
    }
    if !ending.expectations.is_empty() {
        text.push('\n');
    }
    for judged in &ending.expectations {
        writeln!(text, "  {judged}").expect("a string takes everything");
    }
    if let Some(caution) = &ending.caution {
        writeln!(text, "\n  mind: {caution}").expect("a string takes everything");
    }
    writeln!(text, "\n  {}", verdict(ending)).expect("a string takes everything");
    text
}

fn verdict(ending: &Ending) -> String {
    let missed = ending.expectations.iter().filter(|judged| !judged.held).count();
    match &ending.fault {
        Some(fault) => format!("went wrong: {fault}"),
        None if missed > 0 => format!("{missed} of {} expectations missed", ending.expectations.len()),
        None => "nothing went wrong".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_figures_and_a_fault_when_told_then_the_columns_stand_under_each_other() {
        let ending = Ending {
            figures: vec![("messages", 12_345.0), ("p99_us", 8_100.0), ("lost", 2.0)],
            caution: Some("the swarm was busy".to_owned()),
            fault: Some("2 lost".to_owned()),
            ..Ending::default()
        };
        assert_eq!(
            text("swarm chat 127.0.0.1:7400", &ending),
            "swarm chat 127.0.0.1:7400\n\n  messages        12,345\n  p99_us         8.10 ms\n  lost                 2\n\n  \
             mind: the swarm was busy\n\n  went wrong: 2 lost\n"
        );
    }
}
