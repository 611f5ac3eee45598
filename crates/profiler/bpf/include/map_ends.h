/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "types.h"

/* How user stacks end, by enum end. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, END_COUNT);
	__type(key, u32);
	__type(value, u64);
} ends SEC(".maps");

static __always_inline void count_end(u32 end)
{
	u64 *slot = bpf_map_lookup_elem(&ends, &end);

	if (slot)
		*slot += 1;
}
