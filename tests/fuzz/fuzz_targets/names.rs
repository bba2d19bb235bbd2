//! See [`postern_fuzz::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| postern_fuzz::names::check(data));
