//! Profile formats on the wire: pprof, OTLP, folded text, tree, trie and speedscope, to and from [`argand_model::Profile`].
//!
//! Pure functions over bytes: no I/O, no async. Bytes are foreign: decoders never panic, check their limits before they
//! allocate, do not recurse and take time linear in their input and output. What a profile means (its labels, its
//! name, what is dropped or shortened) is not decided here but in `ingest`.

mod call_tree;
#[cfg(test)]
mod drawn;
mod error;
pub mod folded;
pub mod inflate;
mod limits;
mod node;
pub mod otlp;
pub mod pprof;
pub mod proto;
pub mod speedscope;
pub mod tree;
pub mod trie;

pub use call_tree::Measure;
pub use error::FormatError;
pub use limits::{DecodeLimits, LimitError, Quantity};
pub use proto::{Field, ProtoError, Reader, Value};
