//! One step up the stack by a rule.

use super::rule::{Cfa, ReturnAddress, Rule, SavedFp};
use crate::Machine;

/// What is known of the registers of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer, unless it was lost on the way.
    pub fp: Option<u64>,
    /// All registers by DWARF number (rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8…; x0…x30), in the innermost frame only.
    pub general: Option<[u64; 32]>,
}

/// The frame above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer, unless it was lost on the way.
    pub fp: Option<u64>,
    /// Whether `pc` is where the call returns to, so that `pc - 1` is in the calling instruction; false after a signal.
    pub is_return_address: bool,
}

impl Caller {
    /// What the next step starts from.
    pub fn registers(self) -> Registers {
        Registers { pc: self.pc, sp: self.sp, fp: self.fp, general: None }
    }
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is a caller.
    Caller(Caller),
    /// This was the outermost frame.
    Complete,
    /// The rule says nothing that can be followed.
    NoRule,
    /// The rule needs a register that is not known here.
    LostRegister,
    /// Memory could not be read.
    Unreadable,
}

/// Where `rt_sigreturn` finds the interrupted registers, in bytes from the stack pointer.
///
/// x86-64: `ucontext` lies at sp, `uc_mcontext.gregs` at 40 in it: rbp is the 10th, rsp the 15th, rip the 16th word.
/// aarch64: `siginfo` (128) lies at sp, then `ucontext` with `uc_mcontext` at 176 in it: `fault_address`, x0…x30, sp, pc.
const fn signal_offsets(machine: Machine) -> (u64, u64, u64) {
    const X86: u64 = 40;
    const ARM: u64 = 128 + 176 + 8;
    match machine {
        Machine::X86_64 => (X86 + 10 * 8, X86 + 15 * 8, X86 + 16 * 8),
        Machine::Aarch64 => (ARM + 29 * 8, ARM + 31 * 8, ARM + 32 * 8),
    }
}

/// Goes from a frame to its caller.
///
/// `read` gives the eight bytes at an avma, `None` if they cannot be read. Arithmetic wraps, as the registers may hold
/// anything. Whether the caller makes sense (its stack pointer grew, its pc is mapped) is for whoever walks to check.
pub fn step(machine: Machine, rule: Rule, at: &Registers, mut read: impl FnMut(u64) -> Option<u64>) -> Step {
    let (cfa, fp, ra) = match rule {
        Rule::Invalid | Rule::Unsupported => return Step::NoRule,
        Rule::Stop => return Step::Complete,
        Rule::Signal => {
            let (fp, sp, pc) = signal_offsets(machine);
            let mut field = |offset| read(at.sp.wrapping_add(offset));
            let (Some(fp), Some(sp), Some(pc)) = (field(fp), field(sp), field(pc)) else { return Step::Unreadable };
            return Step::Caller(Caller { pc, sp, fp: Some(fp), is_return_address: false });
        }
        Rule::Frame { cfa, fp, ra } => (cfa, fp, ra),
    };
    let plus = |base: u64, offset: i32| base.wrapping_add_signed(i64::from(offset));
    let words = |base: u64, words: i16| base.wrapping_add_signed(i64::from(words) * 8);
    let register = |number: u8| at.general.and_then(|all| all.get(usize::from(number)).copied());

    let cfa = match cfa {
        Cfa::Sp { offset } => plus(at.sp, offset),
        Cfa::Plt { offset, threshold } => {
            let pushed = if at.pc & 15 >= u64::from(threshold) { 8 } else { 0 };
            plus(at.sp, offset).wrapping_add(pushed)
        }
        Cfa::Fp { offset } => {
            let Some(fp) = at.fp else { return Step::LostRegister };
            plus(fp, offset)
        }
        Cfa::Register { register: number, offset } => {
            let Some(value) = register(number) else { return Step::LostRegister };
            plus(value, offset)
        }
        Cfa::DerefSp { offset, add } => {
            let Some(value) = read(plus(at.sp, offset)) else { return Step::Unreadable };
            plus(value, i32::from(add))
        }
        Cfa::DerefFp { offset, add } => {
            let Some(fp) = at.fp else { return Step::LostRegister };
            let Some(value) = read(plus(fp, offset)) else { return Step::Unreadable };
            plus(value, i32::from(add))
        }
    };
    let pc = match ra {
        ReturnAddress::AtCfa { words: count } => {
            let Some(pc) = read(words(cfa, count)) else { return Step::Unreadable };
            pc
        }
        ReturnAddress::Link => {
            let Some(pc) = register(30) else { return Step::LostRegister };
            pc
        }
        ReturnAddress::Register { register: number } => {
            let Some(pc) = register(number) else { return Step::LostRegister };
            pc
        }
    };
    let fp = match fp {
        SavedFp::Same => at.fp,
        SavedFp::Undefined => None,
        SavedFp::AtCfa { words: count } => {
            let Some(fp) = read(words(cfa, count)) else { return Step::Unreadable };
            Some(fp)
        }
        SavedFp::AtFp { words: count } => {
            let Some(fp) = at.fp else { return Step::LostRegister };
            let Some(fp) = read(words(fp, count)) else { return Step::Unreadable };
            Some(fp)
        }
    };
    Step::Caller(Caller { pc, sp: cfa, fp, is_return_address: true })
}
