//! Names for call stacks: the innermost function that is not of the standard library, and the first of ours above it.

use std::collections::HashMap;

use crate::counting_allocator::Place;

/// What carries memory for others and says nothing about who wants it.
const CARRIERS: &[&str] = &[
    "alloc::",
    "backtrace::",
    "bytes::",
    "core::",
    "density::counting_allocator",
    "hashbrown::",
    "indexmap::",
    "mimalloc::",
    "smallvec::",
    "std::",
    "__rust",
    "__rustc",
];

/// The names of the places seen so far.
#[derive(Default)]
pub(crate) struct Names {
    known: HashMap<Place, String>,
}

impl Names {
    pub(crate) fn of(&mut self, place: &Place) -> String {
        self.known.entry(*place).or_insert_with(|| name(place)).clone()
    }
}

fn name(place: &Place) -> String {
    let mut library = None;
    for address in place.iter().take_while(|address| **address != 0) {
        let Some(function) = function_at(*address) else { continue };
        let path = function.trim_start_matches(['<', '&']);
        if path.starts_with("switchyard") {
            return short(&function) + &library.map_or_else(String::new, |library| format!(" ({library})"));
        }
        if library.is_none() && !CARRIERS.iter().any(|carrier| path.starts_with(carrier)) {
            library = Some(short(&function));
        }
    }
    library.unwrap_or_else(|| "unknown".to_owned())
}

/// The function that holds an address, and not one that was inlined there: only the former's name has its module.
fn function_at(address: usize) -> Option<String> {
    let mut function = None;
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        function = symbol.name().map(|name| format!("{name:#}"));
    });
    function
}

/// Without `switchyard_`, and without the parameters of generic types.
fn short(function: &str) -> String {
    let mut depth = 0_u32;
    let mut text = String::new();
    for letter in function.trim_start_matches('<').chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    text.replace("switchyard_", "")
}
