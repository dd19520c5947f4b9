#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| fdbroker_fuzz::entry::reader_to_dispatcher(data));
