//! `tune`: whether the kernel is set as Switchyard wants it, and what to do about it.
//!
//! `check` only reads. `apply` and `revert` say what they would write, and write with `--yes`. `generate` makes the files
//! that let settings last. Exit codes: 0 good, 1 something failed, 2 the command could not be carried out.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use switchyard_tuning::{
    Change, Planned, Profile, SETTINGS, Section, StateError, StateFile, SysctlError, SysctlTree, Verdict, apply,
    generate, plan, plan_revert, print, revert, worst,
};

#[derive(Parser)]
#[command(version, about = "Checks, sets and sets back what a Switchyard host's kernel should be set to")]
#[command(after_help = "Exit codes: 0 good, 1 something failed, 2 could not be carried out.")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is as it should be, what is not, and what to do
    Check {
        #[command(flatten)]
        what: What,
    },
    /// Set the kernel's settings until the next boot, and remember the old values
    Apply {
        #[command(flatten)]
        what: What,
        #[command(flatten)]
        how: How,
    },
    /// Put the remembered values back
    Revert {
        #[command(flatten)]
        how: How,
        /// Root of the tree of settings
        #[arg(long, value_name = "DIR", default_value = "/proc/sys")]
        proc_sys: PathBuf,
    },
    /// Write the files that let the settings last: sysctl.d, limits.d, systemd
    Generate {
        /// What the host is for
        #[arg(long, value_name = "NAME", default_value = "million-websocket", value_parser = profiles())]
        profile: Profile,
        /// Folder to write below, laid out as /etc
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
}

#[derive(Args)]
struct What {
    /// What the host is for
    #[arg(long, value_name = "NAME", default_value = "million-websocket", value_parser = profiles())]
    profile: Profile,
    /// Root of the tree of settings
    #[arg(long, value_name = "DIR", default_value = "/proc/sys")]
    proc_sys: PathBuf,
}

#[derive(Args)]
struct How {
    /// Write, instead of saying what would be written
    #[arg(long)]
    yes: bool,
    /// Where old values are remembered
    #[arg(long, value_name = "FILE", default_value = "/var/lib/switchyard/tuning.toml")]
    state: PathBuf,
}

fn profiles() -> impl TypedValueParser<Value = Profile> {
    let named = |name: String| Profile::ALL.into_iter().find(|profile| profile.name() == name);
    PossibleValuesParser::new(Profile::ALL.map(|profile| PossibleValue::new(profile.name()).help(profile.about())))
        .map(move |name| named(name).expect("only names of profiles are possible"))
}

fn main() -> ExitCode {
    let mut out = anstream::stdout().lock();
    let result = run(Options::parse().command, &mut out).and_then(|verdict| Ok(out.flush().map(|()| verdict)?));
    match result {
        Ok(Verdict::Pass | Verdict::Warn) => ExitCode::SUCCESS,
        Ok(Verdict::Fail) => ExitCode::from(1),
        // The reader has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tune: {error}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn run(command: Command, out: &mut dyn Write) -> Result<Verdict, Box<dyn Error>> {
    match command {
        Command::Check { what } => check(what.profile, &SysctlTree::at(&what.proc_sys), out),
        Command::Apply { what, how } => {
            run_apply(what.profile, &SysctlTree::at(&what.proc_sys), &StateFile::at(&how.state), how.yes, out)
        }
        Command::Revert { how, proc_sys } => {
            run_revert(&SysctlTree::at(&proc_sys), &StateFile::at(&how.state), how.yes, out)
        }
        Command::Generate { profile, into } => {
            let files = generate::files(profile);
            generate::write_into(&into, &files)?;
            for file in &files {
                writeln!(out, "{}", into.join(file.path).display())?;
            }
            Ok(Verdict::Pass)
        }
    }
}

fn check(profile: Profile, tree: &SysctlTree, out: &mut dyn Write) -> Result<Verdict, Box<dyn Error>> {
    let judged = SETTINGS.iter().filter_map(|setting| setting.judge(profile, Profile::CONNECTIONS, tree));
    let title = format!("{}: {}", profile.name(), profile.about());
    let sections = [Section { title, findings: judged.collect() }];
    print(out, &sections)?;
    if sections[0].findings.iter().any(|finding| finding.verdict != Verdict::Pass) {
        let name = profile.name();
        writeln!(out, "until the next boot: tune apply --profile {name}")?;
        writeln!(out, "from every boot on:  tune generate --profile {name} --into /etc")?;
    }
    Ok(worst(&sections))
}

fn run_apply(
    profile: Profile,
    tree: &SysctlTree,
    state: &StateFile,
    yes: bool,
    out: &mut dyn Write,
) -> Result<Verdict, Box<dyn Error>> {
    let planned = plan(profile, tree);
    show(&planned, out)?;
    let count = count_changes(&planned);
    if count == 0 {
        writeln!(out, "\nnothing to change for {}", profile.name())?;
        return Ok(Verdict::Pass);
    }
    if !yes {
        if state.exists() {
            return Err(StateError::Remembers { path: state.path().to_owned() }.into());
        }
        writeln!(
            out,
            "\nnothing was written; --yes sets what has an arrow, and remembers the old values in {}",
            state.path().display()
        )?;
        return Ok(Verdict::Pass);
    }
    let failed = apply(profile, &planned, tree, state)?;
    writeln!(
        out,
        "\n{} of {count} set until the next boot; the old values are in {}, and `tune revert` puts them back",
        count - failed.len(),
        state.path().display()
    )?;
    tell_failed(&failed, out)
}

fn run_revert(tree: &SysctlTree, state: &StateFile, yes: bool, out: &mut dyn Write) -> Result<Verdict, Box<dyn Error>> {
    let remembered = state.recall()?;
    if remembered.root != tree.root() {
        let root = remembered.root.display();
        return Err(format!(
            "{} remembers values of {root}, not of {}; give --proc-sys {root}",
            state.path().display(),
            tree.root().display()
        )
        .into());
    }
    let planned = plan_revert(&remembered, tree);
    show(&planned, out)?;
    let count = count_changes(&planned);
    if !yes {
        writeln!(out, "\nnothing was written; --yes puts back what has an arrow ({} was applied)", remembered.profile)?;
        return Ok(Verdict::Pass);
    }
    let failed = revert(&planned, tree, state)?;
    writeln!(out, "\n{} of {count} put back", count - failed.len())?;
    tell_failed(&failed, out)
}

fn count_changes(planned: &[Planned]) -> usize {
    planned.iter().filter(|planned| matches!(planned, Planned::Change(_))).count()
}

fn show(planned: &[Planned], out: &mut dyn Write) -> io::Result<()> {
    let name = |planned: &Planned| match planned {
        Planned::Holds { key, .. } | Planned::NotInUse { key } => key.clone(),
        Planned::Change(change) | Planned::Foreign { was: change, .. } => change.key.clone(),
        Planned::Impossible(_) => String::new(),
    };
    let columns = planned.iter().map(|planned| name(planned).len()).max().unwrap_or(0);
    for planned in planned {
        let key = name(planned);
        match planned {
            Planned::Holds { is, .. } => writeln!(out, "  {key:<columns$}  {is}  (stays)")?,
            Planned::NotInUse { .. } => writeln!(out, "  {key:<columns$}  not in use  (stays)")?,
            Planned::Change(Change { before, after, .. }) => writeln!(out, "  {key:<columns$}  {before} -> {after}")?,
            Planned::Foreign { was: Change { before, after, .. }, written } => writeln!(
                out,
                "  {key:<columns$}  {before}  (stays: {written} was written over {after}, and it was changed since, or the host \
                 was started again)"
            )?,
            Planned::Impossible(error) => writeln!(out, "  {error}")?,
        }
    }
    Ok(())
}

fn tell_failed(failed: &[SysctlError], out: &mut dyn Write) -> Result<Verdict, Box<dyn Error>> {
    for error in failed {
        writeln!(out, "  {error}")?;
    }
    Ok(if failed.is_empty() { Verdict::Pass } else { Verdict::Fail })
}
