/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* On-CPU samples: a tick of the CPU clock becomes a record of kernel stack and user stack. */
#pragma once

#include "include/kernel.h"
#include "include/map_samples.h"
#include "processes.h"
#include "unwind.h"

/* Set before loading. */
const volatile u64 period_ns = 1000000000 / 19;
/* Samples that one process may have in 2^QUOTA_WINDOW_BITS ns (67 ms). */
const volatile u32 quota_per_window = 64;
#define QUOTA_WINDOW_BITS 26

static __always_inline void begin_sample(struct scratch *s, u8 origin, struct task_struct *task)
{
	struct task_struct *leader = task->group_leader;

	s->sample.time_ns = bpf_ktime_get_ns();
	s->sample.pid = task->tgid;
	s->sample.tid = task->pid;
	s->sample.start_ns = leader->start_boottime;
	s->sample.exec_id = leader->self_exec_id;
	s->sample.parent_pid = task->real_parent->tgid;
	s->sample.cpu = bpf_get_smp_processor_id();
	s->sample.origin = origin;
	s->sample.end = END_no_user;
	s->sample.kernel_words = 0;
	s->sample.words = 0;
	bpf_get_current_comm(s->sample.comm, sizeof(s->sample.comm));
}

/* Whether the process may have another sample now. The weight of those it may not is kept for the next one. */
static __always_inline bool within_quota(struct scratch *s, struct process *process)
{
	u64 window = s->sample.time_ns >> QUOTA_WINDOW_BITS;

	if (!process)
		return true;
	/* Two CPUs may both begin a window; the quota is then a little larger. */
	if (process->quota_window != window) {
		process->quota_window = window;
		process->quota_used = 0;
	}
	if (__sync_fetch_and_add(&process->quota_used, 1) >= quota_per_window) {
		__sync_fetch_and_add(&process->quota_value, s->sample.value);
		count(COUNTER_over_quota);
		return false;
	}
	if (process->quota_value) {
		u64 owed = process->quota_value;

		__sync_fetch_and_add(&process->quota_value, -owed);
		s->sample.value += owed;
	}
	return true;
}

/* The registers with which the task entered the kernel. */
static __always_inline bool user_registers(struct scratch *s, struct task_struct *task)
{
	struct pt_regs *saved = (struct pt_regs *)bpf_task_pt_regs(task);
	struct registers *r = &s->registers;

	if (saved->cs != 0x33) /* __USER_CS: 64-bit code */
		return false;
	r->pc = saved->ip;
	r->sp = saved->sp;
	r->fp = saved->bp;
	r->general[0] = saved->ax;
	r->general[1] = saved->dx;
	r->general[2] = saved->cx;
	r->general[3] = saved->bx;
	r->general[4] = saved->si;
	r->general[5] = saved->di;
	r->general[6] = saved->bp;
	r->general[7] = saved->sp;
	r->general[8] = saved->r8;
	r->general[9] = saved->r9;
	r->general[10] = saved->r10;
	r->general[11] = saved->r11;
	r->general[12] = saved->r12;
	r->general[13] = saved->r13;
	r->general[14] = saved->r14;
	r->general[15] = saved->r15;
	/* In a system call the address is the one behind the instruction; after an interrupt or fault it is exact. */
	s->is_return_address = saved->orig_ax != ~0UL;
	return true;
}

static __always_inline void hand_over(struct scratch *s)
{
	u64 size = s->sample.words;

	if (size > RECORD_WORDS)
		return;
	size = sizeof(s->sample) + size * sizeof(u64);
	count_end(s->sample.end);
	count(bpf_ringbuf_output(&samples, &s->sample, size, BPF_RB_NO_WAKEUP) ? COUNTER_lost_ring_full :
										   COUNTER_samples);
}

static __always_inline void take_sample(struct scratch *s, struct bpf_perf_event_data *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	begin_sample(s, ORIGIN_CPU, task);
	s->sample.value = period_ns;
	if (task->flags & PF_KTHREAD) {
		count(COUNTER_kernel_threads);
		s->process.serial = 0;
	} else if (!within_quota(s, enter_process(s))) {
		return;
	}
	if ((ctx->regs.cs & 3) == 0) {
		long size = bpf_get_stack(ctx, s->words, KERNEL_FRAMES * sizeof(u64), 0);

		if (size < 0)
			count(COUNTER_kernel_stack_failed);
		else
			s->sample.kernel_words = s->sample.words = size / sizeof(u64);
	}
	if (!(task->flags & PF_KTHREAD)) {
		if (user_registers(s, task)) {
			unwind_user(s);
		} else {
			count(COUNTER_compat);
			s->sample.end = END_compat;
		}
	}
	hand_over(s);
}

SEC("perf_event")
int on_cpu_clock(struct bpf_perf_event_data *ctx)
{
	struct scratch *s;

	if ((u32)bpf_get_current_pid_tgid() == 0) {
		count(COUNTER_idle);
		return 0;
	}
	if (only_targets) {
		u32 pid = bpf_get_current_pid_tgid() >> 32;
		u8 *target = bpf_map_lookup_elem(&targets, &pid);

		if (!target || *target != TARGET_SAMPLED)
			return 0;
	}
	s = get_scratch();
	if (!s)
		return 0;
	if (s->busy) {
		count(COUNTER_lost_nested);
		return 0;
	}
	s->busy = 1;
	take_sample(s, ctx);
	s->busy = 0;
	return 0;
}
