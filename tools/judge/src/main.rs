//! Owns the command line of the judge: `ringleader-judge FILE` prints what the case came to, or
//! the law that was broken, and ends with status 1.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: ringleader-judge FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("ringleader-judge: {path}: {error}");
            return ExitCode::from(2);
        }
    };
    match ringleader_judge::judge(&text) {
        Ok(summary) => {
            println!(
                "{} operations, {} answered and explained, {} without an answer done, {} revisions \
                 of {} members, {} events on {} streams, {} renewals",
                summary.asked,
                summary.told,
                summary.found,
                summary.revisions,
                summary.members,
                summary.events,
                summary.streams,
                summary.renewals
            );
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("VIOLATION {wrong}");
            ExitCode::FAILURE
        }
    }
}
