//! What a worker answers for what it is given.
#![allow(missing_docs)]

mod common;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use common::{Scanner, file, file_pair, job};
use fdbroker_common::job_link::Finding;
use fdbroker_common::outcome::{Change, Limit};
use fdbroker_scanner::engine::eicar;

const RULES: &[(&str, &str)] = &[
    ("a.yar", "rule needle { strings: $a = \"needle\" condition: $a }"),
    (
        "b.yar",
        "private rule secret { condition: filesize == 3 }\n\
         rule three_bytes { condition: secret }\n\
         rule named { condition: filename == \"evil.exe\" and extension == \".exe\" }",
    ),
];

fn with_worker(test: impl FnOnce(&mut common::Worker, &common::Ready)) {
    let mut scanner = Scanner::start();
    let (mut template, ready) = scanner.ready(1, RULES);
    let mut worker = template.worker(1);
    test(&mut worker, &ready);
    // Whatever was asked, the worker works on.
    assert_eq!(worker.scan(&eicar::test_file()), Finding::Match(vec![0]));
}

#[test]
fn contents_decide() {
    with_worker(|worker, ready| {
        assert_eq!(ready.rules, 5);
        assert!(ready.wants_names);
        assert_eq!(ready.table.name(0), Some("EICAR_Test_File"));
        assert_eq!(ready.table.name(1), Some("needle"));
        assert_eq!(ready.table.name(4), Some("named"));
        assert_eq!(worker.scan(b""), Finding::Clean);
        assert_eq!(worker.scan(b"hay"), Finding::Match(vec![3]));
        assert_eq!(worker.scan(b"hay needle"), Finding::Match(vec![1]));
        let large = [vec![0; 80 << 20], b"needle".to_vec()].concat();
        assert_eq!(worker.scan(&large), Finding::Match(vec![1]));
        assert_eq!(worker.scan(&large[..80 << 20]), Finding::Clean);
    });
}

#[test]
fn a_name_matters_for_its_file_only() {
    with_worker(|worker, _| {
        let contents = file(b"harmless");
        let mut named = job(7, &contents);
        named.name = Some(b"/tmp/\xff/evil.exe".to_vec().into());
        let answer = worker.judge(named, contents);
        assert_eq!((answer.id, answer.read), (7, 8));
        assert_eq!(answer.finding, Finding::Match(vec![4]));
        assert_eq!(worker.scan(b"harmless"), Finding::Clean);
    });
}

#[test]
fn a_file_that_changed_is_unstable() {
    with_worker(|worker, _| {
        let (mut writer, reader) = file_pair(b"before");
        let before = job(1, &reader);
        writer.write_all(b" and after").unwrap();
        let answer = worker.judge(before, reader);
        assert_eq!(answer.finding, Finding::Unstable(Change::Modified));
        let same_size = file(b"before");
        let mut other = job(1, &same_size);
        other.stamp.changed_ns -= 1;
        let answer = worker.judge(other, same_size);
        assert_eq!(answer.finding, Finding::Unstable(Change::Modified));
    });
}

#[test]
fn limits_are_named() {
    with_worker(|worker, _| {
        let contents = file(b"four");
        let mut limited = job(1, &contents);
        limited.bytes_max = 3;
        let answer = worker.judge(limited, contents);
        assert_eq!(answer.read, 0);
        assert_eq!(answer.finding, Finding::Incomplete(Limit::FileSize));
        let contents = file(b"four");
        let mut exact = job(1, &contents);
        exact.bytes_max = 4;
        assert_eq!(worker.judge(exact, contents).finding, Finding::Clean);
    });
}

#[test]
fn descriptors_of_another_kind_are_refused() {
    with_worker(|worker, _| {
        let some = file(b"some");
        let template = job(1, &some);
        let directory = File::open("/").unwrap();
        let (writable, _) = file_pair(b"some");
        let opaque = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open("/proc/self/exe")
            .unwrap();
        let null = File::open("/dev/null").unwrap();
        let (pipe, _other) = nix::unistd::pipe().unwrap();
        let both = OpenOptions::new().read(true).write(true).open("/dev/zero").unwrap();
        let files: Vec<(&str, OwnedFd)> = vec![
            ("directory", directory.into()),
            ("opened for writing", writable.into()),
            ("O_PATH", opaque.into()),
            ("device", null.into()),
            ("pipe", pipe),
            ("device opened for both", both.into()),
        ];
        for (what, descriptor) in files {
            let answer = worker.judge(template.clone(), descriptor);
            assert_eq!(answer.finding, Finding::Refused, "{what}");
            assert_eq!(answer.read, 0, "{what}");
        }
    });
}

#[test]
fn a_regular_file_opened_for_both_is_refused() {
    with_worker(|worker, _| {
        let path = std::env::temp_dir().join(format!("fdscand-rw-{}", std::process::id()));
        let both: OwnedFd =
            OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap().into();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(worker.judge(job(1, &both), both).finding, Finding::Refused);
    });
}

#[test]
fn a_batch_is_answered_whole_and_in_order() {
    with_worker(|worker, _| {
        let files: Vec<OwnedFd> = (0..64)
            .map(|number| file(if number % 2 == 0 { b"clean" } else { b"needle" }))
            .collect();
        for _ in 0..10 {
            let jobs: Vec<_> = (0..).zip(&files).map(|(id, file)| job(id, file)).collect();
            worker.send(jobs, &files);
            for (id, answer) in (0..).zip(worker.answers(64)) {
                assert_eq!(answer.id, id);
                let expected = if id % 2 == 0 { Finding::Clean } else { Finding::Match(vec![1]) };
                assert_eq!(answer.finding, expected);
            }
        }
    });
}

#[test]
fn the_program_is_not_what_it_looks_for() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_fdscand")).unwrap();
    let wanted = eicar::test_file();
    assert!(!program.windows(wanted.len()).any(|bytes| bytes == wanted));
}

#[test]
fn every_module_works_in_a_sealed_worker() {
    const MODULES: &[&str] = &[
        "pe.number_of_sections >= 0 or pe.imphash() == \"\" or pe.is_signed",
        "elf.number_of_sections > 0 and elf.import_md5() != \"\"",
        "macho.ncmds >= 0",
        "dotnet.is_dotnet",
        "dex.is_dex",
        "lnk.is_lnk",
        "crx.is_crx",
        "math.entropy(0, filesize) > 1.0",
        "hash.sha256(0, filesize) != \"\"",
        "time.now() > 0",
        "string.length(\"x\") == 1",
        "console.log(\"said\")",
    ];
    let rules: String = MODULES
        .iter()
        .map(|condition| {
            let module = condition.split(['.', ' ']).next().unwrap();
            format!("import \"{module}\"\nrule uses_{module} {{ condition: {condition} }}\n")
        })
        .collect();
    let patterns = "rule many { strings: $a = /[a-z]{2,9}(\\d|_)+x?/ nocase wide ascii \
                    $b = \"the\" xor $c = \"base\" base64 condition: #a > 5 or $b or $c }";
    let mut scanner = Scanner::start();
    let (mut template, ready) =
        scanner.ready(1, &[("modules.yar", &rules), ("patterns.yar", patterns)]);
    let mut worker = template.worker(1);
    let program = std::fs::read(env!("CARGO_BIN_EXE_fdscand")).unwrap();
    let Finding::Match(found) = worker.scan(&program) else {
        panic!("no match");
    };
    let found: Vec<&str> = found.iter().filter_map(|rule| ready.table.name(*rule)).collect();
    for expected in ["uses_elf", "uses_math", "uses_hash", "uses_time", "many"] {
        assert!(found.contains(&expected), "{expected} not in {found:?}");
    }
    // Truncated, and of no format at all.
    for length in [0, 1, 4, 64, 1000, 100_000] {
        let _ = worker.scan(&program[..length]);
        let _ = worker.scan(&[b"MZ".as_slice(), &program[..length]].concat());
    }
}
