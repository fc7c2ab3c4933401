#![no_main]
//! The target `json_frames` of tools/fuzz.

libfuzzer_sys::fuzz_target!(|data: &[u8]| switchyard_fuzz::run("json_frames", data));
