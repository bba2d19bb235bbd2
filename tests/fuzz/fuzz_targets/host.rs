//! See [`postern_fuzz::host`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::host::check(data));
