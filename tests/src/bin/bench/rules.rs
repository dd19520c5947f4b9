//! Rules: one string, and a set of many kinds that is the same in each run.

use std::fmt::Write;

use super::trees::Numbers;

/// What the one rule and the one signature look for. Nothing has it.
pub const MARKER: &str = "FDBROKER-BENCH-MARKER-7d1c2a";

/// How many the large set has.
pub const MANY: usize = 1200;

/// One string rule.
pub fn one() -> String {
    format!("rule marker {{ strings: $a = \"{MARKER}\" condition: $a }}\n")
}

/// The same as a signature of ClamAV (.ndb).
pub fn signature() -> String {
    let hex: String = MARKER.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("Bench.Marker:0:*:{hex}\n")
}

/// Strings that real executables and texts have, so that some rules match.
const COMMON: [&str; 12] = [
    "libc.so.6",
    "/etc/passwd",
    "GLIBC_2.34",
    "usage:",
    "--version",
    "/dev/null",
    "malloc",
    "Copyright",
    "#!/bin/sh",
    "#!/usr/bin/perl",
    "libpthread",
    "PATH=",
];

/// [`MANY`] rules: text, nocase and wide, hexadecimal with wildcards and jumps, regular expressions,
/// counts and sizes, pe, elf, hash and math.
pub fn many() -> String {
    let mut text =
        String::from("import \"pe\"\nimport \"elf\"\nimport \"hash\"\nimport \"math\"\n");
    let mut numbers = Numbers::new(11);
    for nth in 0..MANY {
        let rule = rule(nth, &mut numbers);
        writeln!(text, "rule bench_{nth:04} {{ {rule} }}").expect("memory");
    }
    text
}

fn rule(nth: usize, numbers: &mut Numbers) -> String {
    let length = 6 + numbers.below(10);
    let (a, b) = (numbers.word(length), numbers.word(8));
    let common = COMMON[numbers.below(COMMON.len())];
    let number = numbers.below(40);
    let hex: Vec<String> = numbers.bytes(8).iter().map(|byte| format!("{byte:02X}")).collect();
    match nth % 10 {
        0 => format!("strings: $a = \"{a}\" $b = \"{b}\" condition: any of them"),
        1 => format!("strings: $a = \"{a}\" nocase $b = \"{b}\" wide ascii condition: all of them"),
        2 => format!(
            "strings: $a = {{ {} {} ?? {} {} [2-4] {} {} }} condition: $a",
            hex[0], hex[1], hex[2], hex[3], hex[4], hex[5]
        ),
        3 => format!("strings: $a = /{a}_[0-9a-f]{{4,8}}\\.(exe|dll|so)/ condition: $a"),
        4 => format!("strings: $a = \"{common}\" $b = \"{b}\" condition: #a > {number} and not $b"),
        5 => format!(
            "strings: $a = \"{a}\" condition: pe.is_pe and pe.number_of_sections > {} and $a",
            number % 8
        ),
        6 => format!(
            "strings: $a = \"{common}\" condition: elf.type == elf.ET_DYN and elf.number_of_sections == {number} and $a"
        ),
        7 => format!(
            "condition: filesize < 64KB and hash.md5(0, filesize) == \"{}\"",
            hex.join("").to_lowercase().repeat(2)
        ),
        8 => format!(
            "strings: $a = {{ {} {} {} (?? | {}) {} }} condition: uint16(0) == 0x5a4d and $a",
            hex[0], hex[1], hex[2], hex[3], hex[4]
        ),
        _ => format!(
            "strings: $a = /https?:\\/\\/{b}[a-z0-9\\-]{{2,20}}\\.(com|net|org)\\/{a}/ nocase condition: $a and math.entropy(0, 256) > 3.0"
        ),
    }
}
