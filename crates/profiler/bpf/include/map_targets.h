/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "types.h"

/* Set before loading: whether only processes in `targets` are sampled. */
const volatile bool only_targets = false;

enum target { TARGET_SAMPLED = 1, TARGET_CHILDREN_ONLY = 2 };

/* Processes to sample, and their children: user space puts in the first, fork the others. By enum target. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u32);
	__type(value, u8);
} targets SEC(".maps");
