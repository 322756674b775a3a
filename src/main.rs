//! The program hands its arguments to the command line, whose exit code it returns.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyftr_webhook::program::reset();
    lyftr_webhook::program::run(std::env::args_os())
}
