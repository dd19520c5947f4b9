#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fdbroker_fuzz::entry::opener_to_auditor(data));
