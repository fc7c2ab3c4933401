//! What was found, line by line, and how a terminal shows it.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::limits::{REPORT_COLUMNS, TEXT_COLUMNS_MIN};
use crate::text::wrapped;

/// How good something is.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It works, and worse than it could.
    Warn,
    /// Something will not work.
    Fail,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Pass => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default().bold(),
            Self::Fail => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What that means for the server.
    pub meaning: String,
    /// What to do; always there unless the verdict is [`Verdict::Pass`].
    pub fix: Option<String>,
}

impl Finding {
    /// Something that is as it should be.
    pub fn pass(name: impl Into<String>, found: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Pass, found: found.into(), meaning: meaning.into(), fix: None }
    }

    /// Something that could be better.
    pub fn warn(
        name: impl Into<String>,
        found: impl Into<String>,
        meaning: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Warn, found, meaning, fix)
    }

    /// Something that will not work.
    pub fn fail(
        name: impl Into<String>,
        found: impl Into<String>,
        meaning: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(name, Verdict::Fail, found, meaning, fix)
    }

    /// Something with a verdict; `fix` is left out when there is nothing to do.
    pub fn new(
        name: impl Into<String>,
        verdict: Verdict,
        found: impl Into<String>,
        meaning: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let fix = (verdict != Verdict::Pass).then(|| fix.into());
        Self { name: name.into(), verdict, found: found.into(), meaning: meaning.into(), fix }
    }
}

/// Findings that belong together.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Section {
    /// What they are about.
    pub title: String,
    /// In the order they are shown.
    pub findings: Vec<Finding>,
}

/// The worst verdict of all findings.
#[must_use]
pub fn worst(sections: &[Section]) -> Verdict {
    all(sections).map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass)
}

/// Prints the findings, and how many there are of each verdict at the end.
///
/// # Errors
/// Of the writer.
pub fn print(out: &mut dyn Write, sections: &[Section]) -> io::Result<()> {
    for section in sections {
        let names = section.findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
        let bold = Style::new().bold();
        writeln!(out, "\n{bold}{}{bold:#}", section.title)?;
        for finding in &section.findings {
            print_finding(out, finding, names)?;
        }
    }
    let count = |verdict| all(sections).filter(|finding| finding.verdict == verdict).count();
    let (passed, warned, failed) = (count(Verdict::Pass), count(Verdict::Warn), count(Verdict::Fail));
    writeln!(out, "\n{passed} passed, {warned} to improve, {failed} failed")
}

fn all(sections: &[Section]) -> impl Iterator<Item = &Finding> {
    sections.iter().flat_map(|section| &section.findings)
}

/// One line when it is good, as far as it fits; otherwise what it means and what to do below it.
fn print_finding(out: &mut dyn Write, finding: &Finding, names: usize) -> io::Result<()> {
    let indent = "  PASS  ".len() + names + 2;
    let columns = REPORT_COLUMNS.saturating_sub(indent).max(TEXT_COLUMNS_MIN);
    let dim = Style::new().dimmed();
    let good = finding.verdict == Verdict::Pass;
    let first = match (good, finding.meaning.as_str()) {
        (true, "") | (false, _) => finding.found.clone(),
        (true, meaning) => format!("{}; {meaning}", finding.found),
    };
    let style = finding.verdict.style();
    write!(out, "  {style}{}{style:#}  {:<names$}  ", finding.verdict.word(), finding.name)?;
    for (index, line) in wrapped(&first, columns).iter().enumerate() {
        let space = if index == 0 { 0 } else { indent };
        writeln!(out, "{:space$}{line}", "")?;
    }
    if !good {
        for line in wrapped(&finding.meaning, columns) {
            writeln!(out, "{:indent$}{dim}{line}{dim:#}", "")?;
        }
    }
    if let Some(fix) = &finding.fix {
        for (index, line) in wrapped(fix, columns - "fix: ".len()).iter().enumerate() {
            let mark = if index == 0 { "fix: " } else { "     " };
            writeln!(out, "{:indent$}{mark}{line}", "")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_findings_when_printed_then_names_are_aligned_and_every_line_fits() {
        let sections = [Section {
            title: "area".to_owned(),
            findings: vec![
                Finding::pass("short", "found", "fine"),
                Finding::fail(
                    "a longer name",
                    "found ".repeat(40).trim_end(),
                    "meaning ".repeat(40).trim_end(),
                    "do it",
                ),
            ],
        }];
        let mut out = Vec::new();
        print(&mut out, &sections).expect("written");
        let text = anstream::adapter::strip_bytes(&out).into_vec();
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("  PASS  short          found; fine\n"), "{text}");
        assert!(text.contains("\n                       fix: do it\n"), "{text}");
        assert!(text.ends_with("1 passed, 0 to improve, 1 failed\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= REPORT_COLUMNS), "{text}");
        assert_eq!(worst(&sections), Verdict::Fail);
    }
}
