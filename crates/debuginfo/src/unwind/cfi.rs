//! Call frame information to rows: finds the frame descriptions, evaluates them, reduces each row to a rule.

use std::borrow::Cow;
use std::ops::Range;

use gimli::read::{
    BaseAddresses, CfaRule, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, EhFrameHdr, EndianSlice, Operation,
    RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression, UnwindOffset, UnwindSection, UnwindTableRow,
};
use gimli::{EhFrameOffset, Encoding, LittleEndian, Register, Vendor};
use hashbrown::HashMap;
use memchr::memmem;

use super::page::{PAGE_BITS, Page, RuleDictionary, pages};
use super::rule::{Cfa, ReturnAddress, Rule, SavedFp};
use super::table::{TableBuilder, UnwindReport, UnwindTable};
use crate::gopclntab::GoTable;
use crate::{Elf, Machine};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Cie<'a> = CommonInformationEntry<Bytes<'a>>;

/// Bound on frame descriptions of a file; the largest seen (a browser) has 2.8 million rows in about 700,000.
const MAX_FRAMES: usize = 4 << 20;

/// Bound on bytes of instructions that are evaluated, in sizes of the section, to stop many frames that share one long
/// preamble. Compilers stay below two.
const MAX_WORK_FACTOR: u64 = 8;

/// Bound on preambles (CIEs) kept parsed; compilers write one to some dozen.
const MAX_CIES: usize = 1024;

/// Bound on the operations of one expression; the longest of use, that of the PLT, has eight.
const MAX_OPERATIONS: usize = 16;

/// Room for rows of rules: all general and vector registers of aarch64, and nested states.
#[derive(Debug)]
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 80];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

/// The sections with frame descriptions. Cheap to make again from the file, except that a compressed `.debug_frame` is
/// unpacked.
#[derive(Debug)]
pub struct FrameSections<'d> {
    elf: Elf<'d>,
    eh_frame: Option<(u64, &'d [u8])>,
    /// `.eh_frame_hdr` with its svma, where it is the only way to the descriptions.
    header: Option<(u64, &'d [u8])>,
    debug_frame: Option<Cow<'d, [u8]>>,
    go: Option<GoTable<'d>>,
}

/// Where each described range of a file's code begins, sorted; 12 bytes each.
///
/// It is made once per file, in a pass that evaluates nothing; rows are then made for the pages that are needed
/// ([`FrameSections::page`]) or for all ([`FrameSections::table`]).
#[derive(Debug, Clone, Default)]
pub struct FrameIndex {
    base: u64,
    frames: Vec<Frame>,
    report: UnwindReport,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Relative to the base.
    start: u32,
    length: u32,
    what: What,
}

/// Two bits of tag, the rest an offset in a section.
#[derive(Debug, Clone, Copy)]
struct What(u32);

enum Source {
    EhFrame(usize),
    DebugFrame(usize),
    Known(Rule),
    Go(usize),
}

/// Offsets beyond are left out; no section comes near.
const MAX_SECTION: usize = 1 << 30;

impl What {
    fn eh_frame(offset: usize) -> What {
        What(offset as u32)
    }

    fn debug_frame(offset: usize) -> What {
        What(1 << 30 | offset as u32)
    }

    fn source(self) -> Source {
        let rest = self.0 & ((1 << 30) - 1);
        match self.0 >> 30 {
            0 => Source::EhFrame(rest as usize),
            1 => Source::DebugFrame(rest as usize),
            2 => Source::Known(STUBS[rest as usize % STUBS.len()]),
            _ => Source::Go(rest as usize),
        }
    }

    fn go(function: usize) -> What {
        What(3 << 30 | function as u32)
    }

    fn known(stub: Stub) -> What {
        What(2 << 30 | stub as u32)
    }
}

/// Rules of code that is recognised without a description.
#[derive(Clone, Copy)]
enum Stub {
    Signal,
    Stop,
    PltLazy,
    PltHead,
    PltPushed,
    Plt,
}

const fn x86_frame(cfa: Cfa) -> Rule {
    Rule::Frame { cfa, fp: SavedFp::Same, ra: ReturnAddress::AtCfa { words: -1 } }
}

const STUBS: [Rule; 6] = [
    Rule::Signal,
    Rule::Stop,
    x86_frame(Cfa::Plt { offset: 8, threshold: 11 }),
    x86_frame(Cfa::Sp { offset: 16 }),
    x86_frame(Cfa::Sp { offset: 24 }),
    x86_frame(Cfa::Sp { offset: 8 }),
];

impl FrameIndex {
    /// Heap bytes held.
    pub fn size_bytes(&self) -> usize {
        self.frames.capacity() * size_of::<Frame>()
    }

    /// Number of described ranges.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether nothing is described.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What was met while the descriptions were listed.
    pub fn report(&self) -> UnwindReport {
        self.report
    }

    /// The described range that covers an address.
    fn covers(&self, start: u32) -> bool {
        let after = self.frames.partition_point(|frame| frame.start <= start);
        after.checked_sub(1).is_some_and(|at| start - self.frames[at].start < self.frames[at].length)
    }

    /// Adds descriptions of lower precedence: those that begin inside one that is there are left out.
    fn add_layer(&mut self, mut layer: Vec<Frame>) {
        layer.sort_by_key(|frame| frame.start);
        let before = layer.len();
        layer.dedup_by_key(|frame| frame.start);
        layer.retain(|frame| !self.covers(frame.start));
        self.report.shadowed += (before - layer.len()) as u64;
        if self.frames.is_empty() {
            self.frames = layer;
        } else if !layer.is_empty() {
            self.frames.append(&mut layer);
            self.frames.sort_by_key(|frame| frame.start);
        }
    }
}

impl UnwindTable {
    /// All rows of a file.
    pub fn build(elf: &Elf<'_>) -> UnwindTable {
        let sections = FrameSections::load(elf);
        let index = sections.index();
        sections.table(&index)
    }
}

impl<'d> FrameSections<'d> {
    /// Finds the sections, by section headers or else by program headers.
    pub fn load(elf: &Elf<'d>) -> FrameSections<'d> {
        // A section without bytes is one that a debug file only lists.
        let usable = |name| elf.section_named(name).filter(|section| !section.data.is_empty());
        let eh_frame = usable(".eh_frame").filter(|section| !section.compressed);
        let header = if eh_frame.is_none() { elf.eh_frame_header() } else { None };
        let eh_frame = match (eh_frame, header) {
            (Some(section), _) => Some((section.svma, section.data)),
            (None, Some(header)) => eh_frame_by_header(elf, header),
            (None, None) => None,
        };
        let debug_frame = usable(".debug_frame").and_then(|section| section.unpacked());
        FrameSections { elf: elf.clone(), eh_frame, header, debug_frame, go: GoTable::find(elf) }
    }

    /// Lists what is described. Precedence: `.eh_frame`, signal trampolines by their bytes, Go's own
    /// table, which knows where rbp is, `.debug_frame`, then stubs.
    pub fn index(&self) -> FrameIndex {
        let mut index = FrameIndex { base: self.elf.base(), ..FrameIndex::default() };
        if let Some((section, bases)) = self.eh_frame() {
            let mut lister = Lister { base: index.base, elf: &self.elf, report: &mut index.report, frames: Vec::new() };
            match self.header {
                // Without section headers nothing says where the section ends, but its search table lists all.
                Some((_, bytes)) => lister.list_by_header(&EhFrameHdr::new(bytes, LittleEndian), &section, &bases),
                None => lister.list(&section, &bases, What::eh_frame),
            }
            let frames = lister.frames;
            index.add_layer(frames);
        }
        let trampolines = self.signal_trampolines(&index);
        index.add_layer(trampolines);
        let go = self.go_functions(&mut index);
        index.add_layer(go);
        if let Some((section, bases)) = self.debug_frame() {
            let mut lister = Lister { base: index.base, elf: &self.elf, report: &mut index.report, frames: Vec::new() };
            lister.list(&section, &bases, What::debug_frame);
            let frames = lister.frames;
            index.add_layer(frames);
        }
        let mut stubs: Vec<Frame> = self.plt_stubs(&index).chain(self.entry_stub(&index)).collect();
        stubs.retain(|stub| !index.covers(stub.start));
        index.add_layer(stubs);
        index.frames.shrink_to_fit();
        index
    }

    /// All rows.
    pub fn table(&self, index: &FrameIndex) -> UnwindTable {
        self.rows_between(index, 0..u32::MAX)
    }

    /// The rows of one page, `None` if nothing in it has a rule.
    pub fn page(&self, index: &FrameIndex, number: u64, dictionary: &mut RuleDictionary) -> Option<Page> {
        let start = number.checked_mul(1 << PAGE_BITS)?;
        let end = start.checked_add(1 << PAGE_BITS)?.checked_sub(index.base)?;
        let range = start.saturating_sub(index.base)..end;
        let range = u32::try_from(range.start).ok()?..u32::try_from(range.end).unwrap_or(u32::MAX);
        let table = self.rows_between(index, range);
        pages(&table, dictionary).into_iter().find(|page| page.number == number)
    }

    fn rows_between(&self, index: &FrameIndex, range: Range<u32>) -> UnwindTable {
        let mut builder = TableBuilder::new(index.base, range.clone());
        *builder.report() = index.report;
        let first = index.frames.partition_point(|frame| frame.start <= range.start).saturating_sub(1);
        let end = index.frames.partition_point(|frame| frame.start < range.end);
        let eh_frame = self.eh_frame();
        let debug_frame = self.debug_frame();
        let size =
            self.eh_frame.map_or(0, |(_, data)| data.len()) + self.debug_frame.as_ref().map_or(0, |data| data.len());
        let mut evaluator = Evaluator {
            machine: self.elf.machine(),
            context: UnwindContext::new_in(),
            eh_cies: HashMap::new(),
            debug_cies: HashMap::new(),
            work_left: (size as u64).saturating_mul(MAX_WORK_FACTOR),
        };
        for at in first..end {
            let frame = index.frames[at];
            // An address belongs to the last description that begins before it, as in a search of `.eh_frame_hdr`.
            let limit = index.frames.get(at + 1).map_or(u32::MAX, |next| next.start);
            let covered = frame.start..frame.start.saturating_add(frame.length).min(limit);
            let address = index.base + u64::from(frame.start);
            match (frame.what.source(), &eh_frame, &debug_frame) {
                (Source::Known(rule), ..) => builder.cover(covered, rule),
                (Source::Go(function), ..) => self.go_rows(index.base, function, covered, &mut builder),
                (Source::EhFrame(offset), Some((section, bases)), _) => {
                    evaluator.frame(section, bases, true, offset, address, covered, &mut builder);
                }
                (Source::DebugFrame(offset), _, Some((section, bases))) => {
                    evaluator.frame(section, bases, false, offset, address, covered, &mut builder);
                }
                // The index belongs to another file.
                _ => builder.report().damaged += 1,
            }
        }
        // Whether a gap at the end is padding depends on what follows it.
        if let Some(next) = index.frames.get(end) {
            builder.leave_gap_to(next.start);
        }
        builder.report().frames = end.saturating_sub(first) as u64;
        builder.finish()
    }

    fn eh_frame(&self) -> Option<(EhFrame<Bytes<'_>>, BaseAddresses)> {
        let (svma, data) = self.eh_frame?;
        let mut section = EhFrame::new(data, LittleEndian);
        section.set_address_size(8);
        section.set_vendor(vendor(self.elf.machine()));
        let mut bases = self.bases().set_eh_frame(svma);
        if let Some((header, _)) = self.header {
            bases = bases.set_eh_frame_hdr(header);
        }
        Some((section, bases))
    }

    fn debug_frame(&self) -> Option<(DebugFrame<Bytes<'_>>, BaseAddresses)> {
        let data = self.debug_frame.as_ref()?;
        let mut section = DebugFrame::new(data, LittleEndian);
        section.set_address_size(8);
        section.set_vendor(vendor(self.elf.machine()));
        Some((section, self.bases()))
    }

    fn bases(&self) -> BaseAddresses {
        let mut bases = BaseAddresses::default();
        if let Some(text) = self.elf.section_named(".text") {
            bases = bases.set_text(text.svma);
        }
        if let Some(got) = self.elf.section_named(".got") {
            bases = bases.set_got(got.svma);
        }
        bases
    }

    /// Signal trampolines without a description: musl's and Go's. x86-64 only: `mov $15, %rax; syscall`.
    fn signal_trampolines(&self, index: &FrameIndex) -> Vec<Frame> {
        const PATTERNS: [&[u8]; 2] = [b"\x48\xc7\xc0\x0f\0\0\0\x0f\x05", b"\xb8\x0f\0\0\0\x0f\x05"];
        /// A handful at most exist in honest code.
        const MAX: usize = 64;
        let mut found = Vec::new();
        if self.elf.machine() != Machine::X86_64 {
            return found;
        }
        for segment in self.elf.segments().iter().filter(|segment| segment.executable) {
            let Some(bytes) = self.elf.bytes_at(segment.svma) else { continue };
            for pattern in PATTERNS {
                for at in memmem::find_iter(bytes, pattern) {
                    let svma = segment.svma.wrapping_add(at as u64);
                    let Some(start) = relative(index.base, svma) else { continue };
                    if index.covers(start) || found.len() == MAX {
                        continue;
                    }
                    // A handler returns to the first byte, and return addresses are looked up less one.
                    let lead = u32::from(start > 0);
                    let length = lead + pattern.len() as u32;
                    found.push(Frame { start: start - lead, length, what: What::known(Stub::Signal) });
                }
            }
        }
        found
    }

    fn go_functions(&self, index: &mut FrameIndex) -> Vec<Frame> {
        let Some(go) = self.go.filter(|_| self.elf.machine() == Machine::X86_64) else { return Vec::new() };
        let mut report = UnwindReport::default();
        let mut lister = Lister { base: index.base, elf: &self.elf, report: &mut report, frames: Vec::new() };
        for number in 0..go.len() {
            match go.function(number) {
                Some(function) => lister.add(function.svma, function.end - function.svma, number, What::go),
                None => lister.report.damaged += 1,
            }
        }
        let frames = lister.frames;
        index.report.outside_code += report.outside_code;
        index.report.damaged += report.damaged;
        index.report.over_limit += report.over_limit;
        frames
    }

    fn go_rows(&self, base: u64, function: usize, covered: Range<u32>, builder: &mut TableBuilder) {
        let mut position = covered.start;
        let function = self.go.as_ref().and_then(|go| Some((go, go.function(function)?)));
        let Some((go, function)) = function else {
            builder.report().damaged += 1;
            return builder.cover(covered, Rule::Unsupported);
        };
        for (end, rule) in go.unwind_rows(&function) {
            let end = relative(base, end).unwrap_or(u32::MAX).min(covered.end);
            if end > position {
                builder.cover(position..end, rule);
                position = end;
            }
        }
        // What is left, up to the next function, is padding.
    }

    /// PLT sections without description, as lld leaves them. x86-64 only.
    fn plt_stubs<'a>(&'a self, index: &'a FrameIndex) -> impl Iterator<Item = Frame> + 'a {
        let is_x86 = self.elf.machine() == Machine::X86_64;
        self.elf.sections().filter(move |section| is_x86 && section.executable).flat_map(move |section| {
            let is_lazy = match section.name {
                b".plt" => true,
                b".plt.got" | b".plt.sec" | b".iplt" => false,
                _ => return Vec::new(),
            };
            let (Some(start), Ok(size)) = (relative(index.base, section.svma), u32::try_from(section.size)) else {
                return Vec::new();
            };
            if !self.elf.is_code(section.svma) || size < 16 {
                return Vec::new();
            }
            let frame = |at, length, stub| Frame { start: start.saturating_add(at), length, what: What::known(stub) };
            if is_lazy {
                // The head pushes one word in its first six bytes, on top of the one that the entry pushed.
                vec![frame(0, 6, Stub::PltHead), frame(6, 10, Stub::PltPushed), frame(16, size - 16, Stub::PltLazy)]
            } else {
                vec![frame(0, size, Stub::Plt)]
            }
        })
    }

    /// The program's first instructions, where nobody called: musl and loaders do not describe them.
    fn entry_stub(&self, index: &FrameIndex) -> Option<Frame> {
        const LENGTH: u32 = 64;
        let entry = self.elf.entry();
        let start = relative(index.base, entry)?;
        (entry != 0 && self.elf.is_code(entry)).then_some(Frame {
            start,
            length: LENGTH,
            what: What::known(Stub::Stop),
        })
    }
}

fn vendor(machine: Machine) -> Vendor {
    match machine {
        Machine::X86_64 => Vendor::Default,
        Machine::Aarch64 => Vendor::AArch64,
    }
}

fn relative(base: u64, svma: u64) -> Option<u32> {
    u32::try_from(svma.checked_sub(base)?).ok()
}

/// `.eh_frame` from where its header points to the end of what is loaded.
fn eh_frame_by_header<'d>(elf: &Elf<'d>, (svma, bytes): (u64, &'d [u8])) -> Option<(u64, &'d [u8])> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(svma);
    let header = EhFrameHdr::new(bytes, LittleEndian).parse(&bases, 8).ok()?;
    let start = header.eh_frame_ptr().direct().ok()?;
    Some((start, elf.bytes_at(start)?))
}

/// Collects the descriptions of one section.
struct Lister<'a> {
    base: u64,
    elf: &'a Elf<'a>,
    report: &'a mut UnwindReport,
    frames: Vec<Frame>,
}

impl Lister<'_> {
    fn list<'b, S: UnwindSection<Bytes<'b>>>(&mut self, section: &S, bases: &BaseAddresses, what: fn(usize) -> What) {
        let mut cies = HashMap::new();
        let mut entries = section.entries(bases);
        loop {
            match entries.next() {
                Ok(Some(CieOrFde::Cie(_))) => {}
                Ok(Some(CieOrFde::Fde(partial))) => {
                    let offset = partial.offset();
                    match partial.parse(|section, bases, offset| cached_cie(&mut cies, section, bases, offset)) {
                        Ok(frame) => self.add(frame.initial_address(), frame.len(), offset, what),
                        Err(_) => self.report.damaged += 1,
                    }
                }
                Ok(None) => return,
                // The length of an entry is unreadable, so nothing after it can be found.
                Err(_) => {
                    self.report.damaged += 1;
                    return;
                }
            }
        }
    }

    fn list_by_header<'b>(
        &mut self,
        header: &EhFrameHdr<Bytes<'b>>,
        section: &EhFrame<Bytes<'b>>,
        bases: &BaseAddresses,
    ) {
        let Ok(header) = header.parse(bases, 8) else {
            self.report.damaged += 1;
            return;
        };
        let (Some(table), Ok(start)) = (header.table(), header.eh_frame_ptr().direct()) else {
            return self.list(section, bases, What::eh_frame);
        };
        let mut cies = HashMap::new();
        let mut entries = table.iter(bases);
        loop {
            let pointer = match entries.next() {
                Ok(Some((_, pointer))) => pointer,
                Ok(None) => return,
                Err(_) => {
                    self.report.damaged += 1;
                    return;
                }
            };
            let offset = pointer.direct().ok().and_then(|svma| usize::try_from(svma.checked_sub(start)?).ok());
            let frame = offset.and_then(|offset| {
                let partial = section.partial_fde_from_offset(bases, EhFrameOffset(offset)).ok()?;
                let parsed = partial.parse(|section, bases, offset| cached_cie(&mut cies, section, bases, offset));
                Some((parsed.ok()?, offset))
            });
            match frame {
                Some((frame, offset)) => self.add(frame.initial_address(), frame.len(), offset, What::eh_frame),
                None => self.report.damaged += 1,
            }
        }
    }

    fn add(&mut self, svma: u64, length: u64, offset: usize, what: fn(usize) -> What) {
        if length == 0 || !self.elf.is_code(svma) {
            self.report.outside_code += 1;
            return;
        }
        let (Some(start), true) = (relative(self.base, svma), offset < MAX_SECTION && self.frames.len() < MAX_FRAMES)
        else {
            self.report.over_limit += 1;
            return;
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX).min(u32::MAX - start);
        self.frames.push(Frame { start, length, what: what(offset) });
    }
}

fn cached_cie<'b, S: UnwindSection<Bytes<'b>>>(
    cache: &mut HashMap<usize, Cie<'b>>,
    section: &S,
    bases: &BaseAddresses,
    offset: S::Offset,
) -> gimli::Result<Cie<'b>> {
    let key = UnwindOffset::into(offset);
    if let Some(cie) = cache.get(&key) {
        return Ok(cie.clone());
    }
    let cie = section.cie_from_offset(bases, offset)?;
    if cache.len() == MAX_CIES {
        cache.clear();
    }
    cache.insert(key, cie.clone());
    Ok(cie)
}

/// Runs frame descriptions.
struct Evaluator<'b> {
    machine: Machine,
    context: UnwindContext<usize, Storage>,
    eh_cies: HashMap<usize, Cie<'b>>,
    debug_cies: HashMap<usize, Cie<'b>>,
    work_left: u64,
}

impl<'b> Evaluator<'b> {
    /// Gives the rows of one description, cut to `covered`, to the builder. `address` is the svma of `covered.start`.
    #[expect(clippy::too_many_arguments, reason = "one call site, and each is of another kind")]
    fn frame<S: UnwindSection<Bytes<'b>>>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        is_eh_frame: bool,
        offset: usize,
        address: u64,
        covered: Range<u32>,
        builder: &mut TableBuilder,
    ) {
        let cies = if is_eh_frame { &mut self.eh_cies } else { &mut self.debug_cies };
        let frame = section
            .partial_fde_from_offset(bases, S::Offset::from(offset))
            .and_then(|partial| partial.parse(|section, bases, offset| cached_cie(cies, section, bases, offset)));
        let mut position = covered.start;
        let Ok(frame) = frame else {
            builder.report().damaged += 1;
            builder.cover(covered, Rule::Unsupported);
            return;
        };
        let cost = (frame.cie().entry_len() as u64).saturating_add(frame.entry_len() as u64);
        if cost > self.work_left {
            builder.report().over_limit += 1;
            builder.cover(covered, Rule::Unsupported);
            return;
        }
        self.work_left -= cost;

        let reducer = Reducer {
            machine: self.machine,
            encoding: frame.cie().encoding(),
            return_address: frame.cie().return_address_register(),
            is_signal: frame.is_signal_trampoline(),
        };
        let length = covered.end - covered.start;
        let mut failed = false;
        match frame.rows(section, bases, &mut self.context) {
            Err(_) => failed = true,
            Ok(mut rows) => loop {
                match rows.next_row() {
                    Ok(None) => break,
                    Err(_) => {
                        failed = true;
                        break;
                    }
                    Ok(Some(row)) => {
                        let end = row.end_address().wrapping_sub(address).min(u64::from(length)) as u32;
                        let end = covered.start + end;
                        if row.start_address() >= address && end > position {
                            let rule = reducer.rule(row, section);
                            builder.cover(position..end, rule);
                            position = end;
                        }
                        if position == covered.end {
                            break;
                        }
                    }
                }
            },
        }
        if failed {
            builder.report().damaged += 1;
            builder.cover(position..covered.end, Rule::Unsupported);
        }
    }
}

/// x86-64 DWARF numbers.
const RBP: Register = Register(6);
const RSP: Register = Register(7);
const RIP: Register = Register(16);
/// aarch64 DWARF numbers.
const X29: Register = Register(29);
const SP: Register = Register(31);

/// Reduces full rows to rules.
pub(super) struct Reducer {
    pub(super) machine: Machine,
    pub(super) encoding: Encoding,
    pub(super) return_address: Register,
    pub(super) is_signal: bool,
}

/// What an expression of few operations computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `register + offset`.
    Sum { register: Register, offset: i64 },
    /// `*(register + offset) + add`.
    Loaded { register: Register, offset: i64, add: i64 },
    /// The address of a lazy PLT entry's frame.
    Plt { offset: i64, threshold: u64 },
}

impl Reducer {
    /// The rule of a row.
    pub(super) fn rule<'b, T, S>(&self, row: &UnwindTableRow<usize, T>, section: &S) -> Rule
    where
        T: UnwindContextStorage<usize>,
        S: UnwindSection<Bytes<'b>>,
    {
        let shape = |expression: &UnwindExpression<usize>| self.shape(expression, section);
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Shape::Sum { register: *register, offset: *offset },
            CfaRule::Expression(expression) => match shape(expression) {
                Some(shape) => shape,
                None => return Rule::Unsupported,
            },
        };
        if self.is_signal && self.is_signal_frame(cfa) {
            return Rule::Signal;
        }
        let (fp_register, sp_register) = self.frame_registers();

        let ra = match row.register(self.return_address) {
            Some(RegisterRule::Undefined) => return Rule::Stop,
            Some(RegisterRule::Offset(offset)) => match words(offset) {
                Some(words) => ReturnAddress::AtCfa { words },
                None => return Rule::Unsupported,
            },
            Some(RegisterRule::Register(register)) => match u8::try_from(register.0) {
                Ok(30) if self.machine == Machine::Aarch64 => ReturnAddress::Link,
                Ok(register @ 0..32) => ReturnAddress::Register { register },
                _ => return Rule::Unsupported,
            },
            // By the ABI the link register keeps the return address until it is saved; x86-64 has none, and a row that says
            // nothing of rip has no caller.
            None | Some(RegisterRule::SameValue) => match self.machine {
                Machine::Aarch64 => ReturnAddress::Link,
                Machine::X86_64 => return Rule::Stop,
            },
            Some(_) => return Rule::Unsupported,
        };

        let fp = match row.register(fp_register) {
            None | Some(RegisterRule::SameValue) => SavedFp::Same,
            Some(RegisterRule::Offset(offset)) => {
                words(offset).map_or(SavedFp::Undefined, |words| SavedFp::AtCfa { words })
            }
            Some(RegisterRule::Register(register)) if register == fp_register => SavedFp::Same,
            Some(RegisterRule::Expression(expression)) => match (shape(&expression), cfa) {
                (Some(Shape::Sum { register, offset }), _) if register == fp_register => {
                    words(offset).map_or(SavedFp::Undefined, |words| SavedFp::AtFp { words })
                }
                // Saved relative to sp, where the CFA is relative to sp too.
                (Some(Shape::Sum { register, offset }), Shape::Sum { register: base, offset: to_cfa })
                    if register == sp_register && base == sp_register =>
                {
                    let below = offset.checked_sub(to_cfa).and_then(words);
                    below.map_or(SavedFp::Undefined, |words| SavedFp::AtCfa { words })
                }
                _ => SavedFp::Undefined,
            },
            Some(_) => SavedFp::Undefined,
        };

        let cfa = match cfa {
            Shape::Sum { register, offset } => {
                let (Ok(offset), Ok(number)) = (i32::try_from(offset), u8::try_from(register.0)) else {
                    return Rule::Unsupported;
                };
                match register {
                    _ if register == sp_register => Cfa::Sp { offset },
                    _ if register == fp_register => Cfa::Fp { offset },
                    _ if number < 32 => Cfa::Register { register: number, offset },
                    _ => return Rule::Unsupported,
                }
            }
            Shape::Loaded { register, offset, add } => {
                let (Ok(offset), Ok(add)) = (i32::try_from(offset), i16::try_from(add)) else {
                    return Rule::Unsupported;
                };
                match register {
                    _ if register == sp_register => Cfa::DerefSp { offset, add },
                    _ if register == fp_register => Cfa::DerefFp { offset, add },
                    _ => return Rule::Unsupported,
                }
            }
            Shape::Plt { offset, threshold } => match (i32::try_from(offset), u8::try_from(threshold)) {
                (Ok(offset), Ok(threshold)) => Cfa::Plt { offset, threshold },
                _ => return Rule::Unsupported,
            },
        };
        Rule::Frame { cfa, fp, ra }.encodable()
    }

    fn frame_registers(&self) -> (Register, Register) {
        match self.machine {
            Machine::X86_64 => (RBP, RSP),
            Machine::Aarch64 => (X29, SP),
        }
    }

    /// Whether a signal trampoline's row says what [`Rule::Signal`] means: the interrupted sp is where the kernel puts it.
    fn is_signal_frame(&self, cfa: Shape) -> bool {
        match self.machine {
            Machine::X86_64 => cfa == Shape::Loaded { register: RSP, offset: 40 + 15 * 8, add: 0 },
            Machine::Aarch64 => true,
        }
    }

    fn shape<'b, S: UnwindSection<Bytes<'b>>>(
        &self,
        expression: &UnwindExpression<usize>,
        section: &S,
    ) -> Option<Shape> {
        use Operation as Op;
        let mut operations = expression.get(section).ok()?.operations(self.encoding);
        let mut list: Vec<Op<Bytes<'_>>> = Vec::with_capacity(MAX_OPERATIONS);
        while let Some(operation) = operations.next().ok()? {
            if list.len() == MAX_OPERATIONS {
                return None;
            }
            list.push(operation);
        }
        let register = |operation: &Op<Bytes<'_>>| match *operation {
            Op::RegisterOffset { register, offset, .. } => Some((register, offset)),
            _ => None,
        };
        let constant = |operation: &Op<Bytes<'_>>| match *operation {
            Op::UnsignedConstant { value } => i64::try_from(value).ok(),
            Op::SignedConstant { value } => Some(value),
            _ => None,
        };
        let (register, offset) = register(list.first()?)?;
        let full_load = |operation: &Op<Bytes<'_>>| matches!(operation, Op::Deref { size: 8, space: false, .. });
        match &list[1..] {
            [] => Some(Shape::Sum { register, offset }),
            [Op::PlusConstant { value }] => {
                Some(Shape::Sum { register, offset: offset.checked_add(i64::try_from(*value).ok()?)? })
            }
            [load] if full_load(load) => Some(Shape::Loaded { register, offset, add: 0 }),
            [load, Op::PlusConstant { value }] if full_load(load) => {
                Some(Shape::Loaded { register, offset, add: i64::try_from(*value).ok()? })
            }
            [load, add, Op::Plus] if full_load(load) => Some(Shape::Loaded { register, offset, add: constant(add)? }),
            // sp + offset + ((rip & 15 >= threshold) << 3), as binutils writes it for .plt
            [
                Op::RegisterOffset { register: RIP, offset: 0, .. },
                mask,
                Op::And,
                threshold,
                Op::Ge,
                shift,
                Op::Shl,
                Op::Plus,
            ] if register == RSP && constant(mask) == Some(15) && constant(shift) == Some(3) => {
                Some(Shape::Plt { offset, threshold: u64::try_from(constant(threshold)?).ok()? })
            }
            _ => None,
        }
    }
}

/// Bytes to words, if they fit and are a multiple.
fn words(bytes: i64) -> Option<i16> {
    if bytes % 8 != 0 {
        return None;
    }
    i16::try_from(bytes / 8).ok()
}
