#![no_main]
//! The target `binary_frames` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("binary_frames", data));
