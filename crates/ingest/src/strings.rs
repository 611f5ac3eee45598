//! Rewriting the strings of a profile.

use argand_model::{Profile, StringId, StringTable};

/// Replaces every string of `profile` by what `rewrite` makes of it; ids stay.
pub(crate) fn rewrite(profile: &mut Profile, mut rewrite: impl FnMut(&str) -> Option<String>) {
    let old = std::mem::take(&mut profile.symbols.strings);
    let mut new = StringTable::default();
    for text in old.iter().skip(1) {
        match rewrite(text) {
            Some(changed) => new.push(&changed),
            None => new.push(text),
        };
    }
    profile.symbols.strings = new;
}

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
    match strings.iter().position(|s| s == text) {
        Some(index) => StringId::from_index(index),
        None => strings.push(text),
    }
}
