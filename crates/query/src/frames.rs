//! What the frames of a stack are called.

use std::borrow::Cow;

use argand_model::{Line, Location, LocationId, Symbols};

use crate::Names;

/// Names of the frames that a location stands for, outermost first: one per inlined line, or one made from the address
/// where the location is not symbolised.
pub(crate) fn frame_names(symbols: &Symbols, location: LocationId) -> impl Iterator<Item = Cow<'_, str>> {
    let lines = symbols.lines_of(location);
    let unsymbolised = lines.is_empty().then(|| Cow::Owned(address_name(symbols, location)));
    lines.iter().rev().map(move |line| line_name(symbols, location, line)).chain(unsymbolised)
}

fn line_name<'a>(symbols: &'a Symbols, location: LocationId, line: &Line) -> Cow<'a, str> {
    let function = &symbols.functions[line.function.index()];
    let texts = [function.name, function.system_name].map(|id| symbols.strings.get(id));
    match texts.into_iter().find(|text| !text.is_empty()) {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(address_name(symbols, location)),
    }
}

/// `<file name of the binary>!0x<address>`, as the reference server shows frames without symbols.
fn address_name(symbols: &Symbols, location: LocationId) -> String {
    let Location { mapping, address, .. } = symbols.locations[location.index()];
    let path = symbols.strings.get(symbols.mappings[mapping.index()].filename);
    let file = path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("unknown");
    format!("{file}!{address:#x}")
}

/// Translates the locations of one dictionary to ids of shared names, each location once.
pub(crate) struct FrameCache<'a> {
    symbols: &'a Symbols,
    /// Range in `ids` of each location seen, or `UNSEEN`.
    range: Vec<(u32, u32)>,
    ids: Vec<u32>,
    /// Name id of each function seen, or `u32::MAX`.
    function: Vec<u32>,
}

const UNSEEN: (u32, u32) = (u32::MAX, u32::MAX);

impl<'a> FrameCache<'a> {
    pub(crate) fn new(symbols: &'a Symbols) -> Self {
        Self {
            symbols,
            range: vec![UNSEEN; symbols.locations.len()],
            ids: Vec::new(),
            function: vec![u32::MAX; symbols.functions.len()],
        }
    }

    /// Name ids of a location's frames, outermost first.
    pub(crate) fn ids(&mut self, location: LocationId, names: &mut Names) -> &[u32] {
        let mut range = self.range[location.index()];
        if range == UNSEEN {
            range = self.translate(location, names);
            self.range[location.index()] = range;
        }
        &self.ids[range.0 as usize..range.1 as usize]
    }

    fn translate(&mut self, location: LocationId, names: &mut Names) -> (u32, u32) {
        let start = self.ids.len() as u32;
        let lines = self.symbols.lines_of(location);
        for line in lines.iter().rev() {
            let slot = &mut self.function[line.function.index()];
            let named = !self.symbols.function_name(line.function).is_empty();
            if *slot == u32::MAX || !named {
                *slot = names.intern(&line_name(self.symbols, location, line));
            }
            self.ids.push(*slot);
        }
        if lines.is_empty() {
            self.ids.push(names.intern(&address_name(self.symbols, location)));
        }
        (start, self.ids.len() as u32)
    }
}
