/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "types.h"

/* The rows of pages. Slabs are made when they are needed and replaced as a whole when all are full. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLABS);
	__type(key, u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_MMAPABLE);
		/* sizes, as clang leaves a type out of the BTF that only occurs here */
		__uint(key_size, sizeof(u32));
		__uint(value_size, sizeof(struct slab));
	});
} slabs SEC(".maps");
