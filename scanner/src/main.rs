//! `fdscand`, the malware scanner of fdbroker. Wiring only; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fdbroker_scanner::main()
}
