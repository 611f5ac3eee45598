/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "types.h"

/* What happened how often, by enum counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_COUNT);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

static __always_inline void add(u32 counter, u64 value)
{
	u64 *slot = bpf_map_lookup_elem(&counters, &counter);

	if (slot)
		*slot += value;
}

static __always_inline void count(u32 counter)
{
	add(counter, 1);
}
