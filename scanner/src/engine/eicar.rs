//! The built-in rule, and the self-test that it makes possible.
//!
//! Every generation has this rule as number 0, so that an installation without rules is testable and
//! a template or worker that cannot find anything finds that out itself. The test string exists only
//! as hexadecimal digits here: neither this source nor the program is what the rule looks for.

use super::{Engine, Verdict};

/// Name of the built-in rule.
pub const RULE: &str = "EICAR_Test_File";
/// Its namespace.
pub const NAMESPACE: &str = "builtin";
/// Its number.
pub const NUMBER: u32 = 0;

/// The 68 characters of the EICAR anti-virus test file.
const TEST_STRING: &str = "58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d\
    5354414e444152442d414e544956495255532d544553542d46494c452124482b482a";

/// The engine does not work.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The test string was not found.
    #[error("self-test: the EICAR test file is not found")]
    Missed,
    /// It was found where it is not.
    #[error("self-test: the EICAR test file is found in other bytes")]
    FalseAlarm,
    /// There was no verdict.
    #[error("self-test: the engine reports an error")]
    Failed,
}

/// Source of the built-in rule: the test string at the start of a file of at most 128 bytes, as
/// the definition of the test file says. The definition allows nothing but white space after the
/// string; that is not checked.
///
/// The size comes first: the engine evaluates from the left, and searches a file only once a rule
/// that nothing else decides asks for it. With the size last, every byte of every file would be
/// searched for a string that cannot be there.
#[must_use]
pub fn rule() -> String {
    format!(
        "rule {RULE} {{ strings: $eicar = {{ {TEST_STRING} }} \
         condition: filesize <= 128 and $eicar at 0 }}"
    )
}

/// The test file.
#[must_use]
pub fn test_file() -> Vec<u8> {
    TEST_STRING
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            pair.iter().fold(0, |byte, digit| {
                let value = char::from(*digit).to_digit(16).unwrap_or(0);
                byte << 4 | u8::try_from(value).unwrap_or(0)
            })
        })
        .collect()
}

/// Scans the test file and something else.
///
/// # Errors
/// [`SelfTestError`]; the process must not serve then.
pub fn self_test(engine: &mut impl Engine) -> Result<(), SelfTestError> {
    if !found(engine, &test_file())? {
        return Err(SelfTestError::Missed);
    }
    if found(engine, b"The quick brown fox jumps over the lazy dog.\n")? {
        return Err(SelfTestError::FalseAlarm);
    }
    Ok(())
}

fn found(engine: &mut impl Engine, data: &[u8]) -> Result<bool, SelfTestError> {
    match engine.scan(data, None) {
        Verdict::Clean => Ok(false),
        Verdict::Match(rules) => Ok(rules.first() == Some(&NUMBER)),
        Verdict::Failed => Err(SelfTestError::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(Verdict);

    impl Engine for Broken {
        fn scan(&mut self, _: &[u8], _: Option<&[u8]>) -> Verdict {
            self.0.clone()
        }
    }

    #[test]
    fn the_test_file_is_the_published_one() {
        let file = test_file();
        assert_eq!(file.len(), 68);
        assert!(file.starts_with(b"X5O!") && file.ends_with(b"$H+H*"));
        // The published MD5 is 44d88612fea8a8f36de82e1278abb02f; this is the SHA-256 of the same.
        let digest: String = <sha2::Sha256 as sha2::Digest>::digest(&file)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(digest, "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f");
    }

    #[test]
    fn an_engine_that_always_says_the_same_fails_the_test() {
        for verdict in [
            Verdict::Clean,
            Verdict::Match(vec![NUMBER]),
            Verdict::Match(vec![NUMBER + 1]),
            Verdict::Failed,
        ] {
            assert!(self_test(&mut Broken(verdict)).is_err());
        }
    }
}
