/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The few kernel types that are read, by name; libbpf fits the offsets to the running kernel. */
#pragma once

#include "types.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

/* x86-64 */
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

struct mm_struct;

struct task_struct {
	unsigned int flags;
	int pid;
	int tgid;
	u64 self_exec_id;
	u64 start_boottime;
	struct mm_struct *mm;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct signal_struct *signal;
};

#pragma clang attribute pop

#define PF_KTHREAD 0x00200000

/* The context of a perf event, fixed by the user ABI. */
struct bpf_perf_event_data {
	struct {
		u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
	} regs;
	u64 sample_period;
	u64 addr;
};
