//! The program hands its arguments to the command line, whose exit code it returns.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyftr_webhook::inherited::reset();
    lyftr_webhook::cli::run(std::env::args_os())
}
