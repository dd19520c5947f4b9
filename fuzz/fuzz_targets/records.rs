#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fdbroker_fuzz::entry::records(data));
