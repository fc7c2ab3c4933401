#![no_main]
//! The target `manifest` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("manifest", data));
