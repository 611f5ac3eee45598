//! The sections of a dataset of profiles, and what the table of contents says about it.
//!
//! Columns are described in `docs/format/block.md`; this is the one place that knows them.

pub(crate) mod labels;
pub(crate) mod rows;
pub(crate) mod stacks;
pub(crate) mod summary;
pub(crate) mod symbols;
pub(crate) mod table;

/// Kinds of sections, as the table of contents numbers them. A number is never used for something else.
pub(crate) mod kind {
    use crate::container::SectionKind;

    /// Label pairs with the series that have them.
    pub(crate) const LABELS: SectionKind = 1;
    /// One entry per profile.
    pub(crate) const PROFILES: SectionKind = 2;
    /// Strings, functions, mappings, locations.
    pub(crate) const SYMBOLS: SectionKind = 3;
    /// Stack nodes.
    pub(crate) const STACKS: SectionKind = 4;
    /// Nodes that rows refer to.
    pub(crate) const LEAVES: SectionKind = 5;
    /// Lengths and checksums of the pages of the next three.
    pub(crate) const PAGES: SectionKind = 6;
    /// Stack and value of rows.
    pub(crate) const ROWS: SectionKind = 7;
    /// Span ids of rows.
    pub(crate) const SPANS: SectionKind = 8;
    /// Trace ids of rows.
    pub(crate) const TRACES: SectionKind = 9;

    /// For error messages.
    pub(crate) fn name(kind: SectionKind) -> &'static str {
        match kind {
            LABELS => "labels",
            PROFILES => "profiles",
            SYMBOLS => "symbols",
            STACKS => "stacks",
            LEAVES => "leaves",
            PAGES => "pages",
            ROWS => "rows",
            SPANS => "spans",
            TRACES => "traces",
            _ => "of unknown kind",
        }
    }
}

/// Bounds of what a dataset may hold. The writer keeps them; readers refuse counts above them before they allocate.
pub(crate) mod limit {
    /// Series.
    pub(crate) const SERIES: u64 = 1 << 20;
    /// Labels of all series together.
    pub(crate) const POSTINGS: u64 = 1 << 24;
    /// Profiles.
    pub(crate) const PROFILES: u64 = 1 << 24;
    /// Entries of one symbol table.
    pub(crate) const SYMBOLS: u64 = 1 << 24;
    /// Stack nodes.
    pub(crate) const NODES: u64 = 1 << 26;
    /// Bytes of all strings, or of all labels.
    pub(crate) const TEXT_BYTES: u64 = 1 << 30;
}
