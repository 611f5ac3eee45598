/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* From user registers to the frames of a user stack. */
#pragma once

#include "include/map_counters.h"
#include "include/map_ends.h"
#include "include/map_events.h"
#include "include/map_mappings.h"
#include "include/map_pages.h"
#include "include/map_processes.h"
#include "include/map_rules.h"
#include "include/map_scratch.h"
#include "include/map_slabs.h"

#define USER_SPACE_END (1ULL << 47)
/* Above this, mapping_wanted is sent at most every 100 ms << MAX_BACKOFF for one process. */
#define ASK_AGAIN_NS 100000000ULL
#define MAX_BACKOFF 8

/* What a step up the stack came to: an enum end, or this to go on. */
#define GO_ON 255

static __always_inline bool push_frame(struct scratch *s, u8 kind, u16 flags, u32 data, u64 payload)
{
	u32 at = s->sample.words;

	if (at > RECORD_WORDS - 2)
		return false;
	s->words[at] = kind | 1 << 8 | (u64)flags << 16 | (u64)data << 32;
	if (at + 1 < RECORD_WORDS) /* known, but the verifier wants to see it */
		s->words[at + 1] = payload;
	s->sample.words = at + 2;
	return true;
}

/*
 * All searches below halve a range without branches, so that the verifier sees one path: `x - y >> 63` is all ones
 * where x < y.
 */

/* Finds the mapping of an address in the process's range of the pool and copies it to the scratch record. */
__noinline int find_mapping(u64 address)
{
	struct scratch *s = get_scratch();
	u32 zero = 0;
	struct mapping_pool *pool = bpf_map_lookup_elem(&mappings, &zero);
	u32 base, left;

	if (!s || !pool)
		return 0;
	base = s->process.first;
	left = s->process.count;
	for (int i = 0; i < MAPPING_POOL_STEPS; i++) {
		u32 half = left >> 1;
		u32 middle = base + half;

		if (middle >= MAPPING_POOL)
			return 0;
		base += half & ~(u32)((s64)(address - pool->entries[middle].start) >> 63);
		left -= half;
	}
	if (base >= MAPPING_POOL)
		return 0;
	s->mapping = pool->entries[base];
	/* Another process's by now: this one's entry is about to be replaced. */
	if (s->mapping.serial != s->process.serial || address < s->mapping.start || address >= s->mapping.end) {
		s->mapping.end = 0;
		return 0;
	}
	return 1;
}

/* Finds the page of rows of the address, asking user space for it if it was never wanted. An enum page_state. */
static __always_inline int find_page(struct scratch *s, u64 svma)
{
	u64 key = (u64)s->mapping.file << 32 | (u32)(svma >> 16);
	struct page *page;

	if (s->page_key == key)
		return s->page.state;
	page = bpf_map_lookup_elem(&pages, &key);
	if (page) {
		s->page = *page;
		s->page_key = key;
		return s->page.state;
	}
	struct page wanted = { .state = PAGE_WANTED };

	if (bpf_map_update_elem(&pages, &key, &wanted, BPF_NOEXIST)) {
		count(COUNTER_pages_full);
		return PAGE_WANTED;
	}
	struct event event = { .kind = EVENT_page_wanted, .pid = s->sample.pid, .start_ns = s->sample.start_ns, .a = key };

	/* Forgotten, so that the next sample asks again. */
	if (!send(&event))
		bpf_map_delete_elem(&pages, &key);
	return PAGE_WANTED;
}

/* The index of the rule for the low 16 bits of an address in the page of the scratch record, or -1. */
__noinline int find_rule(u32 low)
{
	struct scratch *s = get_scratch();
	struct slab *slab;
	u32 zero = 0, number, base, left;
	void *inner;

	if (!s)
		return -1;
	number = s->page.slab;
	inner = bpf_map_lookup_elem(&slabs, &number);
	if (!inner)
		return -1;
	slab = bpf_map_lookup_elem(inner, &zero);
	if (!slab || slab->generation != s->page.generation)
		return -1;
	base = s->page.first;
	left = s->page.count;
	for (int i = 0; i < SLAB_ROW_STEPS; i++) {
		u32 half = left >> 1;
		u32 middle = base + half;

		if (middle >= SLAB_ROWS)
			return -1;
		base += half & ~(u32)((s64)((s64)low - (s64)(slab->rows[middle] >> 16)) >> 63);
		left -= half;
	}
	if (base >= SLAB_ROWS)
		return -1;
	return slab->rows[base] & 0xffff;
}

static __always_inline bool read_word(u64 address, u64 *word)
{
	return bpf_probe_read_user(word, sizeof(*word), (void *)address) == 0;
}

static __always_inline int arrive(struct scratch *s, u64 pc, u64 sp, bool is_return_address)
{
	if (pc == 0)
		return END_root;
	if (pc >= USER_SPACE_END)
		return END_corrupt;
	s->registers.pc = pc;
	s->registers.sp = sp;
	s->is_return_address = is_return_address;
	s->innermost = false;
	return GO_ON;
}

static __always_inline int step_frame_pointer(struct scratch *s)
{
	u64 fp = s->registers.fp, caller[2];

	if (s->lost_fp)
		return END_unsupported_rule;
	if (fp == 0)
		return END_zero_frame_pointer;
	if (fp < s->registers.sp || fp & 7)
		return END_corrupt;
	if (bpf_probe_read_user(caller, sizeof(caller), (void *)fp))
		return END_unreadable;
	s->registers.fp = caller[0];
	return arrive(s, caller[1], fp + 16, true);
}

/* A signal handler returns to a trampoline whose stack pointer is at the ucontext; the registers are 40 bytes in. */
static __always_inline int step_signal(struct scratch *s)
{
	u64 fp, pc, sp, at = s->registers.sp + 40;

	if (!read_word(at + 10 * 8, &fp) || !read_word(at + 15 * 8, &sp) || !read_word(at + 16 * 8, &pc))
		return END_unreadable;
	s->registers.fp = fp;
	s->lost_fp = false;
	return arrive(s, pc, sp, false);
}

static __always_inline int step_rule(struct scratch *s, struct rule *rule)
{
	struct registers *r = &s->registers;
	s64 offset = rule->cfa_offset;
	u64 cfa, pc;
	s64 ra_offset = (s64)rule->extra * 8;

	switch (rule->cfa) {
	case CFA_INVALID:
		return END_no_rule;
	case CFA_STOP:
		return END_root;
	case CFA_SIGNAL:
		return step_signal(s);
	case CFA_SP:
		cfa = r->sp + offset;
		break;
	case CFA_FP:
		if (s->lost_fp)
			return END_unsupported_rule;
		if (r->fp == 0) /* Go and other runtimes begin a stack so */
			return END_zero_frame_pointer;
		cfa = r->fp + offset;
		break;
	case CFA_DEREF_SP:
	case CFA_DEREF_FP:
		if (rule->cfa == CFA_DEREF_FP && s->lost_fp)
			return END_unsupported_rule;
		if (!read_word((rule->cfa == CFA_DEREF_SP ? r->sp : r->fp) + offset, &cfa))
			return END_unreadable;
		cfa += rule->extra;
		ra_offset = -8;
		break;
	case CFA_PLT:
		cfa = r->sp + offset + ((s64)(r->pc & 15) >= rule->extra ? 8 : 0);
		ra_offset = -8;
		break;
	case CFA_REGISTER:
		if (!s->innermost)
			return END_unsupported_rule;
		cfa = r->general[rule->reg & 15] + offset;
		break;
	default:
		return END_unsupported_rule;
	}

	if (rule->ra == RA_AT_CFA) {
		if (!read_word(cfa + ra_offset, &pc))
			return END_unreadable;
	} else if (rule->ra == RA_REGISTER && s->innermost) {
		pc = r->general[rule->reg & 15];
	} else {
		return END_unsupported_rule;
	}

	switch (rule->fp) {
	case FP_SAME:
		break;
	case FP_AT_CFA:
	case FP_AT_FP: {
		u64 base = rule->fp == FP_AT_CFA ? cfa : r->fp;

		if (rule->fp == FP_AT_FP && s->lost_fp)
			return END_unsupported_rule;
		if (!read_word(base + (s64)rule->fp_words * 8, &r->fp))
			return END_unreadable;
		s->lost_fp = false;
		break;
	}
	default:
		s->lost_fp = true;
	}

	/* Only a leaf may have a frame of no bytes, where the return address is in a register. */
	if (cfa <= r->sp && !(s->innermost && cfa == r->sp))
		return END_corrupt;
	return arrive(s, pc, cfa, true);
}

static __always_inline int step_table(struct scratch *s, u64 svma)
{
	u32 zero = 0, index;
	struct rules *all;
	int found;

	switch (find_page(s, svma)) {
	case PAGE_WANTED:
		return END_no_table;
	case PAGE_EMPTY:
		return END_no_rule;
	}
	found = find_rule(svma & 0xffff);
	if (found < 0)
		return END_no_table;
	all = bpf_map_lookup_elem(&rules, &zero);
	index = found;
	if (!all || index >= RULES)
		return END_unsupported_rule;
	return step_rule(s, &all->entries[index]);
}

/* Asks for the mappings of a process again, less and less often while that does not help. */
static __always_inline void ask_for_mapping(struct scratch *s, u64 address)
{
	u32 pid = s->sample.pid;
	struct process *process = bpf_map_lookup_elem(&processes, &pid);
	u32 backoff;

	if (!process || process->serial != s->process.serial)
		return;
	backoff = process->asks < MAX_BACKOFF ? process->asks : MAX_BACKOFF;
	if (process->asked_ns && s->sample.time_ns - process->asked_ns < ASK_AGAIN_NS << backoff)
		return;
	process->asked_ns = s->sample.time_ns;
	process->asks++;
	struct event event = {
		.kind = EVENT_mapping_wanted,
		.pid = pid,
		.start_ns = s->sample.start_ns,
		.exec_id = s->sample.exec_id,
		.a = address,
	};

	send(&event);
}

static long unwind_frame(u32 number, void *unused)
{
	struct scratch *s = get_scratch();
	u64 address, svma;
	u16 flags;
	int result;

	if (!s)
		return 1;
	address = s->registers.pc - s->is_return_address;
	flags = s->is_return_address ? FRAME_RETURN_ADDRESS : 0;
	if ((address < s->mapping.start || address >= s->mapping.end) && !find_mapping(address)) {
		push_frame(s, FRAME_address, flags, 0, s->registers.pc);
		ask_for_mapping(s, address);
		s->end = END_no_mapping;
		return 1;
	}
	svma = address - s->mapping.bias;
	if (!push_frame(s, FRAME_native, flags, s->mapping.file, s->registers.pc - s->mapping.bias)) {
		s->end = END_depth;
		return 1;
	}
	if (s->mapping.unwinder == UNWINDER_frame_pointer)
		result = step_frame_pointer(s);
	else
		result = step_table(s, svma);
	if (result == GO_ON)
		return 0;
	s->end = result;
	return 1;
}

/*
 * Unwinds from the registers of the scratch record and appends the frames to it. The process's entry must have been
 * copied there; `sample.end` says how far it came.
 */
static __always_inline void unwind_user(struct scratch *s)
{
	u16 before = s->sample.words;

	s->mapping.start = s->mapping.end = 0;
	s->page_key = ~0ULL;
	s->lost_fp = false;
	s->innermost = true;
	s->end = END_depth;
	if (s->process.serial == 0) {
		push_frame(s, FRAME_address, s->is_return_address ? FRAME_RETURN_ADDRESS : 0, 0, s->registers.pc);
		s->end = END_new_process;
	} else {
		bpf_loop(USER_FRAMES, unwind_frame, NULL, 0);
	}
	s->sample.end = s->end;
	add(COUNTER_native_frames, (u32)(s->sample.words - before) >> 1);
}
