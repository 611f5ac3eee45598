/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Types that C and Rust share; src/shared.rs mirrors them and asserts the same sizes. */
#pragma once

#include <linux/bpf.h>
#include "lists.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef _Bool bool;
#define true 1
#define false 0

#define LIST_COUNTER(name, help) COUNTER_##name,
#define LIST_END(name, help) END_##name,
#define LIST_FRAME(name, help) FRAME_##name,
#define LIST_UNWINDER(name, help) UNWINDER_##name,
#define LIST_EVENT(name, help) EVENT_##name,
enum counter { COUNTERS(LIST_COUNTER) COUNTER_COUNT };
enum end { ENDS(LIST_END) END_COUNT };
enum frame { FRAMES(LIST_FRAME) FRAME_COUNT };
enum unwinder { UNWINDERS(LIST_UNWINDER) UNWINDER_COUNT };
enum event_kind { EVENTS(LIST_EVENT) EVENT_COUNT };

/* Words of all stacks of one record. 127 kernel frames of one word, at least 448 user frames of two. */
#define RECORD_WORDS 1024
/* What perf_event_max_stack allows by default. */
#define KERNEL_FRAMES 127
/* Frames of one user stack; what is deeper loses its root. */
#define USER_FRAMES 448
/* Entries of all processes' mapping tables together: 200 processes with 300 executable mappings each. */
#define MAPPING_POOL 65536
#define MAPPING_POOL_STEPS 12 /* a table of one process has at most 2^12 - 1 entries */
#define PROCESS_MAPPINGS 4095
/* Rows of one slab without its first word, and slabs: 64 KiB each, 32 MiB together. A page's rows lie in one slab. */
#define SLAB_ROWS 16383
#define SLAB_ROW_STEPS 14 /* 2^14 > SLAB_ROWS */
#define SLABS 512
/* Distinct unwind rules of all files; about 10,000 occur on a full desktop. */
#define RULES 16384

/*
 * One sample. Followed by `kernel_words` raw kernel addresses, then the user frames, both leaf first, `words` words
 * together. A user frame is a head word and `extra` payload words:
 *
 *   bits 0-7 kind (enum frame), 8-15 extra, 16-31 flags, 32-63 data
 */
struct sample {
	u64 time_ns;  /* CLOCK_MONOTONIC */
	u64 value;    /* weight in the unit of its origin; on-CPU: ns */
	u64 start_ns; /* of the process, CLOCK_BOOTTIME: with pid and exec_id the process's identity */
	u32 exec_id;
	u32 pid;
	u32 tid;
	u32 parent_pid;
	u16 cpu;
	u8 origin; /* enum origin */
	u8 end;    /* enum end */
	u16 kernel_words;
	u16 words;
	char comm[16]; /* of the thread */
};
_Static_assert(sizeof(struct sample) == 64, "shared.rs");

enum origin { ORIGIN_CPU };

#define FRAME_RETURN_ADDRESS 1 /* the address is behind the call: look up the byte before it */

struct event {
	u32 kind; /* enum event_kind */
	u32 pid;
	u64 start_ns;
	u64 a; /* mapping_wanted: avma; page_wanted: page key */
	u32 exec_id;
	u32 pad;
};
_Static_assert(sizeof(struct event) == 32, "shared.rs");

/* A process: where its mappings lie in the pool. `serial` 0: asked for, not known. */
struct process {
	u64 start_ns;
	u64 asked_ns; /* when a mapping was last asked for */
	u64 quota_window;
	u64 quota_value; /* weight of samples over the quota, owed to the next one */
	u32 exec_id;
	u32 serial; /* equal to that of its mappings, or they are another's by now */
	u32 first;
	u32 count;
	u32 asks;
	u32 quota_used;
};
_Static_assert(sizeof(struct process) == 56, "shared.rs");

struct mapping {
	u64 start; /* avma */
	u64 end;
	u64 bias; /* avma = svma + bias */
	u32 file;
	u32 serial;
	u8 unwinder;
	u8 pad[7];
};
_Static_assert(sizeof(struct mapping) == 40, "shared.rs");

struct mapping_pool {
	struct mapping entries[MAPPING_POOL];
};

/* How to find the caller; the layout and numbers are those of argand-debuginfo's unwind::RawRule. */
struct rule {
	u8 cfa;
	u8 fp;
	u8 ra;
	u8 reg;
	s32 cfa_offset;
	s16 fp_words;
	s16 extra;
};
_Static_assert(sizeof(struct rule) == 12, "argand-debuginfo");

enum {
	CFA_INVALID, CFA_UNSUPPORTED, CFA_STOP, CFA_SIGNAL, CFA_SP, CFA_FP, CFA_DEREF_SP, CFA_DEREF_FP, CFA_PLT,
	CFA_REGISTER
};
enum { FP_SAME, FP_AT_CFA, FP_AT_FP, FP_UNDEFINED };
enum { RA_AT_CFA, RA_LINK, RA_REGISTER };

struct rules {
	struct rule entries[RULES];
};

enum page_state { PAGE_WANTED, PAGE_LOADED, PAGE_EMPTY };

/* Where the rows of 64 KiB of a file's code lie. The key is file << 32 | svma >> 16. */
struct page {
	u32 generation; /* of the slab */
	u16 slab;
	u16 first;
	u16 count;
	u16 state; /* enum page_state */
};
_Static_assert(sizeof(struct page) == 12, "shared.rs");

/* Row: low 16 bits of the svma << 16 | index of the rule in force from there. */
struct slab {
	u32 generation;
	u32 rows[SLAB_ROWS];
};
_Static_assert(sizeof(struct slab) == 65536, "shared.rs");
