/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "types.h"

/* Registers of a frame. The general ones, by DWARF number, are known in the innermost frame only. */
struct registers {
	u64 pc, sp, fp;
	u64 general[16];
};

/* A record while it is made: one per CPU. A sample that comes while another is being made is lost and counted. */
struct scratch {
	struct sample sample;
	u64 words[RECORD_WORDS];
	u32 busy;
	bool innermost; /* the general registers are known */
	bool is_return_address;
	bool lost_fp;
	u8 end;
	struct registers registers;
	struct process process; /* as it was when the walk began */
	struct mapping mapping; /* of the frame before: most callers are in the same one */
	u64 page_key;		/* page of the frame before, and where it lies */
	struct page page;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *get_scratch(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}
