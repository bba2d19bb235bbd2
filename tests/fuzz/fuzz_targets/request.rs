//! See [`postern_fuzz::request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::request::check(data));
