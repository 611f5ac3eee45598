//! Symbol tables: strings, functions, mappings, locations and stacks by dense ids.
//!
//! Every table is a column that other tables point into by a newtype index. Id 0 of strings, functions, mappings
//! and stacks is the null entry (empty text, unknown, none, empty stack); locations have no null entry.

/// Makes a dense `u32` index newtype.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// As an index into its table.
            pub fn index(self) -> usize {
                self.0 as usize
            }

            /// The id of the entry at `index`. Panics when the table exceeds `u32`, which the limits rule out.
            pub fn from_index(index: usize) -> Self {
                Self(u32::try_from(index).expect("tables are limited to u32 entries"))
            }
        }
    };
}

id!(
    /// Index into [`Symbols::strings`]; 0 is the empty string.
    StringId
);
id!(
    /// Index into [`Symbols::functions`]; 0 is an unknown function.
    FunctionId
);
id!(
    /// Index into [`Symbols::mappings`]; 0 means no mapping.
    MappingId
);
id!(
    /// Index into [`Symbols::locations`].
    LocationId
);
id!(
    /// Index into a [`StackTree`]; 0 is the empty stack.
    StackId
);

/// Strings back to back in one buffer; entry 0 is empty.
///
/// Shape: at most 4 GiB of text. Entries need not be distinct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringTable {
    text: String,
    ends: Vec<u32>,
}

impl Default for StringTable {
    fn default() -> Self {
        Self { text: String::new(), ends: vec![0] }
    }
}

impl StringTable {
    /// Takes over strings back to back and where each one ends.
    ///
    /// `None` unless `ends` starts with 0, ascends to the length of `text` and never cuts a character.
    pub fn from_columns(text: String, ends: Vec<u32>) -> Option<Self> {
        let cuts_well = ends.iter().all(|&end| text.is_char_boundary(end as usize));
        let bounded = ends.first() == Some(&0) && ends.last().is_some_and(|&end| end as usize == text.len());
        (cuts_well && bounded && ends.is_sorted()).then_some(Self { text, ends })
    }

    /// Appends `text` without looking for an equal entry.
    pub fn push(&mut self, text: &str) -> StringId {
        let id = StringId::from_index(self.ends.len());
        self.text.push_str(text);
        self.ends.push(u32::try_from(self.text.len()).expect("string tables are limited to 4 GiB"));
        id
    }

    /// The text of `id`. Panics when `id` is not of this table.
    #[inline]
    pub fn get(&self, id: StringId) -> &str {
        let start = if id.0 == 0 { 0 } else { self.ends[id.index() - 1] };
        &self.text[start as usize..self.ends[id.index()] as usize]
    }

    /// Number of entries, at least 1.
    #[allow(clippy::len_without_is_empty)] // entry 0 always exists
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// All entries in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(StringId::from_index(i)))
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<u32>()
    }
}

/// A function of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Function {
    /// Name as shown to people.
    pub name: StringId,
    /// Name as in the binary (mangled), empty where the same or unknown.
    pub system_name: StringId,
    /// Source file.
    pub filename: StringId,
    /// Line of the definition, 0 where unknown.
    pub start_line: u32,
}

/// A file mapped into the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// First address in the process.
    pub memory_start: u64,
    /// Address after the last one in the process.
    pub memory_limit: u64,
    /// Offset in the file that `memory_start` maps.
    pub file_offset: u64,
    /// Path of the file.
    pub filename: StringId,
    /// Build id, in hexadecimal where it is one.
    pub build_id: StringId,
    /// Whether function names were resolved by the sender.
    pub has_functions: bool,
    /// Whether file names were resolved by the sender.
    pub has_filenames: bool,
    /// Whether line numbers were resolved by the sender.
    pub has_line_numbers: bool,
    /// Whether inlined frames were resolved by the sender.
    pub has_inline_frames: bool,
}

/// One source line of a location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Line {
    /// Function that the line belongs to.
    pub function: FunctionId,
    /// Line number, 0 where unknown.
    pub line: u32,
}

/// A place in the code: an address, and the lines that it stands for once symbolised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Location {
    /// Mapping that the address lies in.
    pub mapping: MappingId,
    /// Address, 0 where unknown; as sent (see [`Mapping`]).
    pub address: u64,
    /// Whether several addresses were folded into this one.
    pub is_folded: bool,
    /// First of its lines in [`Symbols::lines`].
    pub lines_start: u32,
    /// Number of its lines; the innermost inlined one comes first.
    pub lines_len: u32,
}

/// The symbol tables of a profile or of a [`Dictionary`].
///
/// Shape: every id inside points into a table of the same value; entry 0 of strings, functions and mappings is null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// Text.
    pub strings: StringTable,
    /// Functions.
    pub functions: Vec<Function>,
    /// Mappings.
    pub mappings: Vec<Mapping>,
    /// Locations.
    pub locations: Vec<Location>,
    /// Lines of all locations; see [`Symbols::lines_of`].
    pub lines: Vec<Line>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self {
            strings: StringTable::default(),
            functions: vec![Function::default()],
            mappings: vec![Mapping::default()],
            locations: Vec::new(),
            lines: Vec::new(),
        }
    }
}

impl Symbols {
    /// The lines of a location, innermost inlined one first; empty where it is not symbolised.
    #[inline]
    pub fn lines_of(&self, location: LocationId) -> &[Line] {
        let Location { lines_start, lines_len, .. } = self.locations[location.index()];
        &self.lines[lines_start as usize..(lines_start + lines_len) as usize]
    }

    /// Name of a function.
    pub fn function_name(&self, function: FunctionId) -> &str {
        self.strings.get(self.functions[function.index()].name)
    }

    /// Appends a function.
    pub fn push_function(&mut self, function: Function) -> FunctionId {
        let id = FunctionId::from_index(self.functions.len());
        self.functions.push(function);
        id
    }

    /// Appends a mapping.
    pub fn push_mapping(&mut self, mapping: Mapping) -> MappingId {
        let id = MappingId::from_index(self.mappings.len());
        self.mappings.push(mapping);
        id
    }

    /// Appends a location with its lines, innermost first.
    pub fn push_location(&mut self, mapping: MappingId, address: u64, is_folded: bool, lines: &[Line]) -> LocationId {
        let id = LocationId::from_index(self.locations.len());
        let lines_start = u32::try_from(self.lines.len()).expect("tables are limited to u32 entries");
        let lines_len = u32::try_from(lines.len()).expect("tables are limited to u32 entries");
        self.lines.extend_from_slice(lines);
        self.locations.push(Location { mapping, address, is_folded, lines_start, lines_len });
        id
    }

    /// Appends a location that is just a function by name: what formats without addresses have.
    pub fn push_named_location(&mut self, function_name: &str) -> LocationId {
        let name = self.strings.push(function_name);
        let function = self.push_function(Function { name, ..Function::default() });
        self.push_location(MappingId(0), 0, false, &[Line { function, line: 0 }])
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.strings.memory_bytes()
            + self.functions.capacity() * size_of::<Function>()
            + self.mappings.capacity() * size_of::<Mapping>()
            + self.locations.capacity() * size_of::<Location>()
            + self.lines.capacity() * size_of::<Line>()
    }
}

/// Stacks as lists of locations back to back, each leaf first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    locations: Vec<LocationId>,
    ends: Vec<u32>,
}

impl Stacks {
    /// Takes over stacks back to back, each leaf first, and where each one ends.
    ///
    /// `None` unless `ends` ascends to the number of `locations`.
    pub fn from_columns(locations: Vec<LocationId>, ends: Vec<u32>) -> Option<Self> {
        let bounded = ends.last().map_or(0, |&end| end as usize) == locations.len();
        (bounded && ends.is_sorted()).then_some(Self { locations, ends })
    }

    /// Appends a stack, leaf first, and returns its index.
    pub fn push(&mut self, leaf_first: impl IntoIterator<Item = LocationId>) -> u32 {
        let index = u32::try_from(self.ends.len()).expect("tables are limited to u32 entries");
        self.locations.extend(leaf_first);
        self.ends.push(u32::try_from(self.locations.len()).expect("tables are limited to u32 entries"));
        index
    }

    /// The stack at `index`, leaf first. Panics when there is none.
    #[inline]
    pub fn get(&self, index: u32) -> &[LocationId] {
        let start = if index == 0 { 0 } else { self.ends[index as usize - 1] };
        &self.locations[start as usize..self.ends[index as usize] as usize]
    }

    /// Number of stacks.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no stack.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All stacks in order, each leaf first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[LocationId]> {
        (0..self.ends.len()).map(|i| self.get(i as u32))
    }

    /// Frames of all stacks, back to back.
    pub fn frames(&self) -> &[LocationId] {
        &self.locations
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.locations.capacity() * size_of::<LocationId>() + self.ends.capacity() * size_of::<u32>()
    }
}

/// Stacks as a prefix tree: a node is the stack from the root down to it.
///
/// Shape: columns of equal length; node 0 is the empty stack (its `parent` is itself, its `location` unused);
/// `parent[i] < i` for `i > 0`, so one reverse pass sums children into parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackTree {
    /// Caller of each node.
    pub parent: Vec<StackId>,
    /// Location of each node.
    pub location: Vec<LocationId>,
}

impl Default for StackTree {
    fn default() -> Self {
        Self { parent: vec![StackId(0)], location: vec![LocationId(0)] }
    }
}

impl StackTree {
    /// Number of nodes, at least 1.
    #[allow(clippy::len_without_is_empty)] // node 0 always exists
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Appends a child of `parent`, which must exist.
    pub fn push(&mut self, parent: StackId, location: LocationId) -> StackId {
        assert!(parent.index() < self.len(), "a parent comes before its children");
        let id = StackId::from_index(self.len());
        self.parent.push(parent);
        self.location.push(location);
        id
    }

    /// Locations of a stack, leaf first.
    pub fn leaf_first(&self, stack: StackId) -> impl Iterator<Item = LocationId> {
        let mut at = stack;
        std::iter::from_fn(move || {
            if at.0 == 0 {
                return None;
            }
            let location = self.location[at.index()];
            at = self.parent[at.index()];
            Some(location)
        })
    }

    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.parent.capacity() * size_of::<StackId>() + self.location.capacity() * size_of::<LocationId>()
    }
}

/// Symbols and stacks that many profiles share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    /// Symbol tables.
    pub symbols: Symbols,
    /// Stacks; their locations point into `symbols`.
    pub stacks: StackTree,
}

impl Dictionary {
    /// Heap memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.symbols.memory_bytes() + self.stacks.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_come_back_by_id() {
        let mut strings = StringTable::default();
        let (a, b) = (strings.push("alpha"), strings.push("βeta"));
        assert_eq!((strings.get(StringId(0)), strings.get(a), strings.get(b)), ("", "alpha", "βeta"));
        assert_eq!(strings.iter().collect::<Vec<_>>(), ["", "alpha", "βeta"]);
    }

    #[test]
    fn columns_are_taken_over_when_they_fit() {
        let strings = |text: &str, ends: &[u32]| StringTable::from_columns(text.to_owned(), ends.to_vec());
        assert_eq!(strings("aβ", &[0, 1, 3]).unwrap().iter().collect::<Vec<_>>(), ["", "a", "β"]);
        for ends in [[].as_slice(), &[1, 3], &[0, 2, 3], &[0, 1], &[0, 3, 1, 3], &[0, 1, 3, 4]] {
            assert_eq!(strings("aβ", ends), None, "{ends:?}");
        }
        let stacks = |ends: &[u32]| Stacks::from_columns(vec![LocationId(1), LocationId(2)], ends.to_vec());
        assert_eq!(stacks(&[0, 2]).unwrap().get(1), [LocationId(1), LocationId(2)]);
        for ends in [[].as_slice(), &[1], &[2, 1, 2], &[3]] {
            assert_eq!(stacks(ends), None, "{ends:?}");
        }
    }

    #[test]
    fn lines_belong_to_their_location() {
        let mut symbols = Symbols::default();
        let inlined = symbols.push_function(Function::default());
        let outer = symbols.push_function(Function::default());
        let first = symbols.push_location(MappingId(0), 16, false, &[]);
        let lines = [Line { function: inlined, line: 3 }, Line { function: outer, line: 9 }];
        let second = symbols.push_location(MappingId(0), 32, false, &lines);
        assert!(symbols.lines_of(first).is_empty());
        assert_eq!(symbols.lines_of(second), lines);
    }

    #[test]
    fn a_stack_reads_leaf_first() {
        let mut tree = StackTree::default();
        let root = tree.push(StackId(0), LocationId(7));
        let leaf = tree.push(root, LocationId(9));
        assert_eq!(tree.leaf_first(leaf).collect::<Vec<_>>(), [LocationId(9), LocationId(7)]);
        assert_eq!(tree.leaf_first(StackId(0)).count(), 0);
    }

    #[test]
    fn flat_stacks_keep_their_bounds() {
        let mut stacks = Stacks::default();
        stacks.push([LocationId(1), LocationId(2)]);
        stacks.push([]);
        stacks.push([LocationId(3)]);
        assert_eq!(stacks.iter().map(<[_]>::len).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(stacks.get(2), [LocationId(3)]);
    }
}
