//! The rule model: what is needed of a CFI row to find the caller, and its 12 bytes for the kernel side.

/// How to find the caller from a place in the code.
///
/// Only what a stack walk needs: the canonical frame address (CFA, the caller's stack pointer), the return address and the
/// caller's frame pointer (rbp, x29). Other callee-saved registers are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// No unwind information covers this address.
    Invalid,
    /// There is unwind information that this model cannot express.
    Unsupported,
    /// The outermost frame: the return address is undefined (`_start`, `clone`).
    Stop,
    /// The return trampoline of a signal handler: all registers lie in the `ucontext` on the stack, and the program counter
    /// there is exact, no return address.
    Signal,
    /// An ordinary frame.
    Frame {
        /// Where the caller's stack pointer is.
        cfa: Cfa,
        /// Where the caller's frame pointer is.
        fp: SavedFp,
        /// Where the return address is.
        ra: ReturnAddress,
    },
}

/// The canonical frame address. Offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Cfa {
    /// `sp + offset`.
    Sp { offset: i32 },
    /// `fp + offset`.
    Fp { offset: i32 },
    /// `*(sp + offset) + add`.
    DerefSp { offset: i32, add: i16 },
    /// `*(fp + offset) + add`: realigned stacks.
    DerefFp { offset: i32, add: i16 },
    /// `sp + offset + (pc & 15 >= threshold ? 8 : 0)`: a lazy PLT entry, which has pushed one more word from there on.
    Plt { offset: i32, threshold: u8 },
    /// `register + offset`, by DWARF number. Registers other than sp and fp are known in the innermost frame only.
    Register { register: u8, offset: i32 },
}

/// The caller's frame pointer. Words of eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum SavedFp {
    /// Still in its register.
    Same,
    /// At `CFA + 8 * words`.
    AtCfa { words: i16 },
    /// At `fp + 8 * words`: realigned stacks, where the CFA is elsewhere.
    AtFp { words: i16 },
    /// Lost, or somewhere that this model cannot express. The walk goes on and fails where it is needed.
    Undefined,
}

/// The return address. Words of eight bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum ReturnAddress {
    /// At `CFA + 8 * words`; always -1 on x86-64.
    AtCfa { words: i16 },
    /// Still in the link register (x30), which is known in the innermost frame only.
    Link,
    /// In another register by DWARF number, known in the innermost frame only (glibc's `vfork` holds it in rdi).
    Register { register: u8 },
}

/// The numbers in a [`RawRule`].
#[expect(missing_docs, reason = "each is named after the variant it stands for")]
pub mod raw {
    pub const CFA_INVALID: u8 = 0;
    pub const CFA_UNSUPPORTED: u8 = 1;
    pub const CFA_STOP: u8 = 2;
    pub const CFA_SIGNAL: u8 = 3;
    pub const CFA_SP: u8 = 4;
    pub const CFA_FP: u8 = 5;
    pub const CFA_DEREF_SP: u8 = 6;
    pub const CFA_DEREF_FP: u8 = 7;
    pub const CFA_PLT: u8 = 8;
    pub const CFA_REGISTER: u8 = 9;

    pub const FP_SAME: u8 = 0;
    pub const FP_AT_CFA: u8 = 1;
    pub const FP_AT_FP: u8 = 2;
    pub const FP_UNDEFINED: u8 = 3;

    pub const RA_AT_CFA: u8 = 0;
    pub const RA_LINK: u8 = 1;
    pub const RA_REGISTER: u8 = 2;
}

/// A [`Rule`] in 12 bytes, native byte order, as the kernel side reads it.
///
/// ```text
/// offset size field
///      0    1 cfa         raw::CFA_*; up to CFA_SIGNAL nothing else counts
///      1    1 fp          raw::FP_*
///      2    1 ra          raw::RA_*
///      3    1 register    DWARF number, of CFA_REGISTER or of RA_REGISTER
///      4    4 cfa_offset  bytes, signed
///      8    2 fp_words    eight bytes each, signed, from the CFA or from fp
///     10    2 extra       CFA_DEREF_*: bytes to add after the load; CFA_PLT: threshold; else words from the CFA to the
///                         return address. With CFA_DEREF_* and CFA_PLT the return address is at CFA - 8.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
#[expect(missing_docs, reason = "the layout above says it")]
pub struct RawRule {
    pub cfa: u8,
    pub fp: u8,
    pub ra: u8,
    pub register: u8,
    pub cfa_offset: i32,
    pub fp_words: i16,
    pub extra: i16,
}

const _: () = assert!(size_of::<RawRule>() == 12);

/// The only place of a return address where `extra` has another use.
const BELOW_CFA: ReturnAddress = ReturnAddress::AtCfa { words: -1 };

impl Rule {
    /// The encoding, or that of [`Rule::Unsupported`] for the few combinations that have none: a second register, or a
    /// return address elsewhere than at CFA - 8 together with a CFA that needs `extra`.
    pub fn encode(self) -> RawRule {
        let command = |cfa| RawRule { cfa, ..RawRule::default() };
        let (cfa, fp, ra) = match self {
            Rule::Invalid => return command(raw::CFA_INVALID),
            Rule::Unsupported => return command(raw::CFA_UNSUPPORTED),
            Rule::Stop => return command(raw::CFA_STOP),
            Rule::Signal => return command(raw::CFA_SIGNAL),
            Rule::Frame { cfa, fp, ra } => (cfa, fp, ra),
        };
        let mut rule = RawRule::default();
        (rule.fp, rule.fp_words) = match fp {
            SavedFp::Same => (raw::FP_SAME, 0),
            SavedFp::AtCfa { words } => (raw::FP_AT_CFA, words),
            SavedFp::AtFp { words } => (raw::FP_AT_FP, words),
            SavedFp::Undefined => (raw::FP_UNDEFINED, 0),
        };
        (rule.ra, rule.register, rule.extra) = match ra {
            ReturnAddress::AtCfa { words } => (raw::RA_AT_CFA, 0, words),
            ReturnAddress::Link => (raw::RA_LINK, 0, 0),
            ReturnAddress::Register { register } => (raw::RA_REGISTER, register, 0),
        };
        let plain = ra == BELOW_CFA;
        (rule.cfa, rule.cfa_offset) = match cfa {
            Cfa::Sp { offset } => (raw::CFA_SP, offset),
            Cfa::Fp { offset } => (raw::CFA_FP, offset),
            Cfa::DerefSp { offset, add } if plain => {
                rule.extra = add;
                (raw::CFA_DEREF_SP, offset)
            }
            Cfa::DerefFp { offset, add } if plain => {
                rule.extra = add;
                (raw::CFA_DEREF_FP, offset)
            }
            Cfa::Plt { offset, threshold } if plain => {
                rule.extra = i16::from(threshold);
                (raw::CFA_PLT, offset)
            }
            Cfa::Register { register, offset } if !matches!(ra, ReturnAddress::Register { .. }) => {
                rule.register = register;
                (raw::CFA_REGISTER, offset)
            }
            _ => return command(raw::CFA_UNSUPPORTED),
        };
        rule
    }

    /// The rule that was encoded, `Unsupported` for numbers that mean nothing.
    pub fn decode(raw: RawRule) -> Rule {
        let offset = raw.cfa_offset;
        let mut ra = match raw.ra {
            raw::RA_AT_CFA => ReturnAddress::AtCfa { words: raw.extra },
            raw::RA_LINK => ReturnAddress::Link,
            raw::RA_REGISTER => ReturnAddress::Register { register: raw.register },
            _ => return Rule::Unsupported,
        };
        let cfa = match raw.cfa {
            raw::CFA_INVALID => return Rule::Invalid,
            raw::CFA_STOP => return Rule::Stop,
            raw::CFA_SIGNAL => return Rule::Signal,
            raw::CFA_SP => Cfa::Sp { offset },
            raw::CFA_FP => Cfa::Fp { offset },
            raw::CFA_REGISTER => Cfa::Register { register: raw.register, offset },
            with_extra => {
                ra = BELOW_CFA;
                match with_extra {
                    raw::CFA_DEREF_SP => Cfa::DerefSp { offset, add: raw.extra },
                    raw::CFA_DEREF_FP => Cfa::DerefFp { offset, add: raw.extra },
                    raw::CFA_PLT => match u8::try_from(raw.extra) {
                        Ok(threshold) => Cfa::Plt { offset, threshold },
                        Err(_) => return Rule::Unsupported,
                    },
                    _ => return Rule::Unsupported,
                }
            }
        };
        let fp = match raw.fp {
            raw::FP_SAME => SavedFp::Same,
            raw::FP_AT_CFA => SavedFp::AtCfa { words: raw.fp_words },
            raw::FP_AT_FP => SavedFp::AtFp { words: raw.fp_words },
            raw::FP_UNDEFINED => SavedFp::Undefined,
            _ => return Rule::Unsupported,
        };
        Rule::Frame { cfa, fp, ra }
    }

    /// The same rule, or `Unsupported` if it has no encoding, so that tables hold only what survives encoding.
    pub(crate) fn encodable(self) -> Rule {
        Rule::decode(self.encode())
    }
}
