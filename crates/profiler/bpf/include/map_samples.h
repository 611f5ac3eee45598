/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
#pragma once

#include <bpf/bpf_helpers.h>
#include "types.h"

/* Samples on their way to user space, which looks four times a second: no wakeups. The size is set when loading. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");
