//! The command line with its variables: `.env` first, then flags, and an empty
//! variable counts as unset.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;

use clap::builder::Resettable;
use clap::{Arg, Command, Parser};

use crate::problems::{Problems, SettingsError};

/// Reads `.env` of the current directory, variables and flags. A flag wins over
/// a variable, and a variable over a line of `.env`, even an empty one.
///
/// A command line that is unusable, or a `.env` that is, ends the process with
/// status 2 and a message on standard error; `--help` and `--version` end it with 0.
///
/// To be called first in `main`, before there are other threads: it sets
/// variables of the process.
pub fn parse<T: Parser>() -> T {
    if let Err(error) = load_dotenv(Path::new(".env")) {
        eprintln!("{error}");
        #[expect(clippy::disallowed_methods, reason = "clap ends the process the same way, and nothing runs yet")]
        std::process::exit(2);
    }
    try_parse_from(std::env::args_os(), |name| std::env::var_os(name)).unwrap_or_else(|error| error.exit())
}

/// Reads flags with the variables that `variable` knows; a variable that is empty
/// counts as unset.
///
/// # Errors
/// What clap says of an unusable command line; also `--help` and `--version`.
pub fn try_parse_from<T: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    variable: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<T, clap::Error> {
    let mut command = with_variables(T::command(), &variable);
    let matches = command.try_get_matches_from_mut(arguments)?;
    T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Corrects what clap read of the environment, in the command and all below it.
fn with_variables(command: Command, variable: &impl Fn(&OsStr) -> Option<OsString>) -> Command {
    command
        .mut_args(|argument| with_variable(argument, variable))
        .mut_subcommands(|command| with_variables(command, variable))
}

fn with_variable(argument: Arg, variable: &impl Fn(&OsStr) -> Option<OsString>) -> Arg {
    let Some(name) = argument.get_env().map(OsStr::to_owned) else {
        return argument;
    };
    match variable(&name).filter(|value| !value.is_empty()) {
        // What clap has read is right already.
        Some(value) if std::env::var_os(&name).as_ref() == Some(&value) => argument,
        // Only a test looks elsewhere than in the environment.
        Some(value) => without_env(argument, &name).default_value(value).hide_default_value(true),
        None if std::env::var_os(&name).is_none() => argument,
        None => without_env(argument, &name),
    }
}

/// The argument without its variable, which the help still names.
fn without_env(argument: Arg, name: &OsStr) -> Arg {
    let note = format!(" [env: {}=]", name.to_string_lossy());
    let short = argument.get_help().map(|help| format!("{help}{note}"));
    let long = argument.get_long_help().map(|help| format!("{help}{note}"));
    let argument = argument.env(Resettable::Reset).help(short.unwrap_or(note));
    match long {
        Some(long) => argument.long_help(long),
        None => argument,
    }
}

/// Sets the variables of a `.env` file that are not set yet. No file is no error.
fn load_dotenv(path: &Path) -> Result<(), SettingsError> {
    let shown = path.display();
    let mut problems = Problems::new();
    match std::fs::read_to_string(path) {
        Ok(text) => match check_dotenv(&text) {
            Ok(()) => {
                // It was checked before, and the error would show the line.
                if dotenvy::from_read(text.as_bytes()).is_err() {
                    problems.line(format_args!("cannot read {shown}"));
                }
            }
            Err(problem) => problems.line(format_args!("{shown}{problem}")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => problems.line(format_args!("cannot read {shown}: {error}")),
    }
    problems.finish()
}

/// Says which line of a `.env` file is malformed, by number and name: its value
/// may be a secret. The text goes right after the name of the file.
fn check_dotenv(text: &str) -> Result<(), String> {
    // Setting a variable to such a value would panic.
    if text.contains('\0') {
        return Err(": has a NUL character".to_owned());
    }
    // dotenvy counts no lines, so the lines of the variables it has read are followed here.
    let mut rest = text.lines().enumerate();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        let malformed = match item {
            Ok((read, _)) => {
                rest.find(|(_, line)| name(line) == Some(&read));
                continue;
            }
            Err(dotenvy::Error::LineParse(malformed, _)) => malformed,
            Err(_) => return Err(": cannot be read".to_owned()),
        };
        let first = malformed.lines().next().unwrap_or_default().trim();
        let found = rest.find(|(_, line)| line.contains(first));
        let number = found.map_or(String::new(), |(index, _)| format!(":{}", index + 1));
        let name = found.and_then(|(_, line)| name(line)).map_or(String::new(), |name| format!("{name}: "));
        return Err(format!(
            "{number}: {name}is no line like NAME=value; quote a value with spaces or special characters"
        ));
    }
    Ok(())
}

/// The name of the variable a line of `.env` sets, if it begins like one.
fn name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};
    use proptest::prelude::*;

    use super::*;
    use crate::args::TargetArgs;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        targets: TargetArgs,
        #[arg(long, env = "PATH")]
        path: Option<String>,
        #[command(subcommand)]
        command: Option<Sub>,
    }

    #[derive(Debug, Subcommand)]
    enum Sub {
        Up {
            #[arg(long, env = "API_ADDR")]
            address: Option<String>,
        },
    }

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Cli, clap::Error> {
        try_parse_from(["lookout"].iter().chain(arguments).copied(), |name| {
            let found = variables.iter().find(|(known, _)| name == *known);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn an_empty_variable_counts_as_unset_in_commands_too() {
        let variables = [("URLS", ""), ("POLLING_INTERVAL", "5s"), ("API_ADDR", "")];
        let cli = read(&["up"], &variables).unwrap();
        assert_eq!(cli.targets.urls, None);
        assert_eq!(cli.targets.interval.as_deref(), Some("5s"));
        assert!(matches!(cli.command, Some(Sub::Up { address: None })));
        let cli = read(&["up"], &[("API_ADDR", "x")]).unwrap();
        assert!(matches!(cli.command, Some(Sub::Up { address: Some(address) }) if address == "x"));
    }

    #[test]
    fn a_flag_wins_over_its_variable() {
        let cli = read(&["--interval", "7s"], &[("POLLING_INTERVAL", "5s")]).unwrap();
        assert_eq!(cli.targets.interval.as_deref(), Some("7s"));
    }

    #[test]
    fn a_negative_duration_reaches_our_own_check() {
        let cli = read(&["--interval", "-5s"], &[]).unwrap();
        assert_eq!(cli.targets.interval.as_deref(), Some("-5s"));
    }

    #[test]
    fn a_variable_that_is_set_outside_but_not_here_is_not_read() {
        assert_eq!(read(&[], &[]).unwrap().path, None);
        let cli = read(&[], &[("PATH", "here")]).unwrap();
        assert_eq!(cli.path.as_deref(), Some("here"));
    }

    #[test]
    fn help_names_every_variable_and_shows_no_value() {
        let variables = [("PATH", "s3cret"), ("URLS", "http://me:s3cret@h/")];
        let help = read(&["--help"], &variables).unwrap_err().to_string();
        for name in ["URLS", "POLLING_INTERVAL", "LOOKOUT_CONFIG", "PATH"] {
            assert!(help.contains(&format!("[env: {name}")), "{name}: {help}");
        }
        assert!(!help.contains("s3cret"), "{help}");
    }

    #[test]
    fn a_broken_dotenv_names_line_and_variable_but_not_the_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(".env");
        std::fs::write(&path, "# comment\nLOOKOUT_TEST_A=1\nAPI_TOKEN=s3cret with spaces\n").unwrap();
        let error = load_dotenv(&path).unwrap_err().to_string();
        assert!(error.contains(".env:3: API_TOKEN: is no line like NAME=value"), "{error}");
        assert!(!error.contains("s3cret") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_missing_dotenv_is_fine_and_an_unreadable_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        assert!(load_dotenv(&directory.path().join(".env")).is_ok());
        let error = load_dotenv(directory.path()).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
    }

    #[test]
    fn the_malformed_line_is_found_among_others() {
        let cases = [
            ("A=1\n# A=x y\nexport A='x\ny'\nB=x y\n", ":5: B: is"),
            ("A=x\nnonsense\n", ":2: is"),
            ("A='x\n", ":1: A: is"),
            ("1A=x", ":1: 1A: is"),
            ("A=\0", ": has a NUL"),
        ];
        for (text, expected) in cases {
            let problem = check_dotenv(text).unwrap_err();
            assert!(problem.starts_with(expected), "{text:?}: {problem}");
        }
        assert_eq!(check_dotenv("A=1\n\n# x\nB='a b' # c\nC=\n"), Ok(()));
    }

    proptest! {
        #[test]
        fn no_dotenv_makes_the_check_panic(text in "(?s).*|([AB= #'\"\\\\$\n{}]){0,40}") {
            let _ = check_dotenv(&text);
        }
    }
}
