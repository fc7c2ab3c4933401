#![no_main]
//! The target `framing` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("framing", data));
