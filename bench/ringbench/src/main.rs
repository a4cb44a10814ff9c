//! The `ringbench` program: loads etcd endpoints and says what it saw.
//! Owns exit codes: 0 for a run in which all answers were good, 1 for one that could not be made or
//! in which something failed, 2 for a command line that cannot be understood.

mod compare;
mod drive;
mod flags;
mod load;
mod member;
mod net;
mod null_server;
mod run;
mod show;
mod storage;
mod sys;

use clap::Parser;

use crate::flags::{Command, Task};

fn main() {
    let command = Command::parse();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let line = format!("ringbench {}", without_secrets(&words).join(" "));
    let done = match &command.task {
        Task::Load(load) => drive::run(&command.common, load, line).and_then(|outcome| {
            show::outcome(&outcome, load, &command.common.output)?;
            Ok(outcome.failed() == 0)
        }),
        Task::NullServer(flags) => {
            let common = &command.common;
            null_server::run(flags, common.cores as usize, &common.cpus).map(|()| true)
        }
        Task::Compare(flags) => compare::run(flags, &command.common),
        Task::Storage(flags) => storage::run(flags, &command.common, line)
            .and_then(|outcome| show::plain(&outcome, &command.common.output).map(|()| true)),
        Task::DiskCheck(flags) => storage::disk_check(flags),
        Task::Report(flags) => show::report(flags, &command.common.output).map(|()| true),
    };
    match done {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(error) => {
            eprintln!("ringbench: {error}");
            std::process::exit(1);
        }
    }
}

/// The words of the command line as they may be kept: a password is not.
fn without_secrets(words: &[String]) -> Vec<String> {
    let mut kept = Vec::with_capacity(words.len());
    let mut is_user = false;
    for word in words {
        kept.push(match (is_user, word.strip_prefix("--user=")) {
            (true, _) => "...".to_string(),
            (false, Some(_)) => "--user=...".to_string(),
            (false, None) => word.clone(),
        });
        is_user = word == "--user";
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_kept() {
        let words = ["put", "--user", "root:secret", "--user=root:secret", "--total", "1"];
        let kept = without_secrets(&words.map(String::from)).join(" ");
        assert_eq!(kept, "put --user ... --user=... --total 1");
    }
}
