//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyftr_webhook::inherited::settle();
    lyftr_webhook::cli::run(std::env::args_os())
}
