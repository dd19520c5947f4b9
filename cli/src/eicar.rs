//! The EICAR test file, harmless and found by every scanner.
//!
//! Put together at run time, so that neither this source nor the executable is found by one.

use std::hint::black_box;

/// The 68 bytes of the test file.
pub fn eicar() -> Vec<u8> {
    let front = black_box("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STAND");
    let back = black_box("*H+H$!ELIF-TSET-SURIVITNA-DRA");
    front.bytes().chain(back.bytes().rev()).collect()
}

#[cfg(test)]
mod tests {
    use super::eicar;

    #[test]
    fn it_is_the_68_bytes_that_end_as_published() {
        let bytes = eicar();
        assert_eq!(bytes.len(), 68);
        assert!(bytes.ends_with(b"-TEST-FILE!$H+H*"));
    }
}
