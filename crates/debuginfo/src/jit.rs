//! Code that a runtime makes while it runs: perf maps (text) and jitdump (binary).
//!
//! Both are appended to while they are read, so both readers take what came since the last time and say how much of it they
//! used. The newest code at an address counts. Contents come from the profiled process and may be anything.

use std::collections::BTreeMap;

use hashbrown::HashMap;

mod dump;
mod map;

pub use dump::{CodeLine, JitDump};
pub use map::PerfMap;

/// Bound on pieces of code of one process.
pub const MAX_CODES: usize = 1 << 18;

/// Bound on the bytes of their names.
pub const MAX_NAME_BYTES: usize = 32 << 20;

/// Longer names are cut.
const MAX_NAME: usize = 4096;

/// A piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JitSymbol<'m> {
    /// As the runtime wrote it.
    pub name: &'m str,
    /// Its first address (avma).
    pub address: u64,
}

/// What was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JitReport {
    /// Pieces of code that were read.
    pub codes: u64,
    /// Lines or records that could not be read.
    pub damaged: u64,
    /// What was left out because a bound was reached.
    pub over_limit: u64,
}

/// Code by address; what is added replaces what it overlaps.
#[derive(Debug, Default)]
struct CodeMap {
    /// By start. Pieces do not overlap.
    pieces: BTreeMap<u64, Piece>,
    text: String,
    report: JitReport,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    end: u64,
    /// Where the code began, before something replaced its beginning.
    start: u64,
    name: (u32, u32),
}

impl CodeMap {
    fn lookup(&self, address: u64) -> Option<JitSymbol<'_>> {
        let (_, piece) = self.pieces.range(..=address).next_back()?;
        (address < piece.end).then(|| JitSymbol { name: self.name(piece), address: piece.start })
    }

    fn name(&self, piece: &Piece) -> &str {
        &self.text[piece.name.0 as usize..piece.name.1 as usize]
    }

    fn add(&mut self, start: u64, size: u64, name: &[u8]) {
        let Some(end) = start.checked_add(size).filter(|end| *end > start) else {
            self.report.damaged += 1;
            return;
        };
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]);
        if self.text.len() + name.len() > MAX_NAME_BYTES {
            self.forget_replaced_names();
        }
        // Half must be free after that, so that it is not done for each piece.
        if self.pieces.len() >= MAX_CODES || self.text.len() + name.len() > MAX_NAME_BYTES {
            self.report.over_limit += 1;
            return;
        }
        self.report.codes += 1;
        self.make_room(start, end);
        let from = self.text.len() as u32;
        self.text.push_str(&name);
        self.pieces.insert(start, Piece { end, start, name: (from, self.text.len() as u32) });
    }

    /// Moves code; false if none begins there.
    fn relocate(&mut self, from: u64, to: u64, size: u64) -> bool {
        let Some(piece) = self.pieces.get(&from).copied().filter(|piece| piece.start == from) else { return false };
        let Some(end) = to.checked_add(size).filter(|end| *end > to) else { return false };
        self.pieces.remove(&from);
        self.make_room(to, end);
        self.pieces.insert(to, Piece { end, start: to, name: piece.name });
        true
    }

    fn make_room(&mut self, start: u64, end: u64) {
        // What begins before may reach in, and even beyond.
        if let Some((_, before)) = self.pieces.range_mut(..start).next_back()
            && before.end > start
        {
            let whole = *before;
            before.end = start;
            if whole.end > end {
                self.pieces.insert(end, whole);
            }
        }
        while let Some((&inside, &piece)) = self.pieces.range(start..end).next() {
            self.pieces.remove(&inside);
            if piece.end > end {
                self.pieces.insert(end, piece);
            }
        }
    }

    /// Writes the text again with the names that are in use. If they take more than half, all code is forgotten: a table
    /// that stays full would have to be written again for every piece.
    fn forget_replaced_names(&mut self) {
        let mut text = String::new();
        let mut kept: HashMap<(u32, u32), (u32, u32)> = HashMap::new();
        for piece in self.pieces.values_mut() {
            piece.name = *kept.entry(piece.name).or_insert_with(|| {
                let from = text.len() as u32;
                text.push_str(&self.text[piece.name.0 as usize..piece.name.1 as usize]);
                (from, text.len() as u32)
            });
        }
        self.text = text;
        if self.text.len() > MAX_NAME_BYTES / 2 {
            self.report.over_limit += self.pieces.len() as u64;
            self.pieces.clear();
            self.text = String::new();
        }
    }

    fn size_bytes(&self) -> usize {
        // A B-tree's nodes are two thirds full on average.
        self.text.capacity() + self.pieces.len() * (size_of::<Piece>() + size_of::<u64>()) * 3 / 2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_newest_code_at_an_address_counts(codes in prop::collection::vec((0u64..100, 1u64..40), 0..60), at in 0u64..150) {
            let mut map = CodeMap::default();
            for (index, (start, size)) in codes.iter().enumerate() {
                map.add(*start, *size, format!("f{index}").as_bytes());
            }
            let newest = codes.iter().enumerate().rev().find(|(_, (start, size))| (*start..start + size).contains(&at));
            let found = map.lookup(at).map(|symbol| (symbol.name.to_owned(), symbol.address));
            prop_assert_eq!(found, newest.map(|(index, (start, _))| (format!("f{index}"), *start)));
        }
    }

    #[test]
    fn names_of_replaced_code_make_room_again() {
        let mut map = CodeMap::default();
        let name = vec![b'x'; MAX_NAME];
        let rounds = 3 * MAX_NAME_BYTES / MAX_NAME;
        for round in 0..rounds {
            map.add(0x1000 + (round as u64 % 100) * 16, 16, &name);
        }
        assert_eq!((map.report.codes, map.report.over_limit), (rounds as u64, 0));
        assert!(map.size_bytes() <= 3 * MAX_NAME_BYTES);
        assert_eq!(map.pieces.len(), 100);
        assert_eq!(map.lookup(0x1000).unwrap().name.len(), MAX_NAME);
    }

    #[test]
    fn too_many_codes_stop_at_the_bound() {
        let mut map = CodeMap::default();
        for index in 0..MAX_CODES as u64 + 10 {
            map.add(index * 16, 8, b"f");
        }
        assert_eq!((map.pieces.len(), map.report.over_limit), (MAX_CODES, 10));
        map.add(1, u64::MAX, b"overflow");
        assert_eq!(map.report.damaged, 1);
    }
}
