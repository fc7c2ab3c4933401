//! Whether what is made from the table, and kept in the repository, is what the table says now.
//!
//! After a change of the table: `SWITCHYARD_WRITE_GENERATED=1 cargo test -p switchyard-tuning --test current`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use switchyard_tuning::{Effect, Place, Profile, SETTINGS, Setting, Weight, generate};

const BEGIN: &str = "<!-- made from src/settings.rs: begin -->\n";
const END: &str = "<!-- made from src/settings.rs: end -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn check(path: &Path, made: &str) {
    if env::var_os("SWITCHYARD_WRITE_GENERATED").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, made).expect("written");
    }
    let kept = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(kept == made, "{} is not what the table says; see the head of this test", path.display());
}

#[test]
fn given_the_table_then_the_generated_files_are_current() {
    for profile in Profile::ALL {
        for file in generate::files(profile) {
            check(&root().join("generated").join(profile.name()).join(file.path), &file.text);
        }
    }
}

#[test]
fn given_the_table_then_the_readme_shows_it() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("it is there");
    let (before, rest) = readme.split_once(BEGIN).expect("the table begins somewhere");
    let (_, after) = rest.split_once(END).expect("and ends");
    check(&path, &format!("{before}{BEGIN}{}{END}{after}", table()));
}

/// A paragraph for each setting: a table in Markdown would have cells of three lines.
fn table() -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let kind = match setting.place {
            Place::Sysctl(_) | Place::SysctlSince(_) | Place::SysctlInUse { .. } => "",
            Place::Limit(_) => " (limit of the process)",
            Place::Directive(_) => " (systemd unit)",
        };
        let weight = match setting.weight {
            Weight::Needed => "needed",
            Weight::Helps => "helps",
        };
        let _ = write!(text, "\n### `{}`{kind}\n\n{}; {weight}\n\n", setting.place.name(), values(setting));
        let _ = write!(text, "- Why: {}.\n- Source: {}.\n", setting.reason, setting.source);
        let _ = match setting.effect {
            Effect::Measured { seen, command } => writeln!(text, "- Measured: {seen} (`{command}`)."),
            Effect::NotMeasured(why) => writeln!(text, "- Not measured: {why}."),
        };
    }
    text.push('\n');
    text
}

/// The value of each profile; once when all have the same.
fn values(setting: &Setting) -> String {
    let of = |profile: Profile| setting.wanted(profile, Profile::CONNECTIONS).map(|value| value.to_string());
    let wanted: Vec<_> = Profile::ALL.into_iter().filter_map(|profile| Some((profile, of(profile)?))).collect();
    let words = setting.rule.words();
    let (_, first) = &wanted[0];
    if wanted.len() == Profile::ALL.len() && wanted.iter().all(|(_, value)| value == first) {
        return format!("every profile: {words} `{first}`");
    }
    let each = |(profile, value): &(Profile, String)| format!("{}: {words} `{value}`", profile.name());
    wanted.iter().map(each).collect::<Vec<_>>().join(", ")
}
