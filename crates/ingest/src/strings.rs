//! Rewriting the strings of a profile.

use argand_model::{Profile, StringId, StringTable};

/// Replaces the names of functions: `rename` gets name and file name.
pub(crate) fn rename_functions(profile: &mut Profile, rename: impl Fn(&str, &str) -> Option<String>) {
    let symbols = &mut profile.symbols;
    for function in &mut symbols.functions {
        let renamed = rename(symbols.strings.get(function.name), symbols.strings.get(function.filename));
        if let Some(name) = renamed {
            function.name = symbols.strings.push(&name);
        }
    }
}

/// The id of `text`, appended where the table lacks it.
pub(crate) fn find_or_push(strings: &mut StringTable, text: &str) -> StringId {
    let known = strings.iter().position(|s| s == text);
    match known {
        Some(index) => StringId::from_index(index),
        None => strings.push(text),
    }
}
