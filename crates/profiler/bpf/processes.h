/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which processes are known here: added when sampled, copied at fork, removed at exec and exit. */
#pragma once

#include <bpf/bpf_tracing.h>

#include "include/kernel.h"
#include "include/map_counters.h"
#include "include/map_events.h"
#include "include/map_processes.h"
#include "include/map_scratch.h"
#include "include/map_targets.h"

/* Copies the entry of the sample's process to the scratch record; asks user space for it if there is none. */
static __always_inline struct process *enter_process(struct scratch *s)
{
	u32 pid = s->sample.pid;
	struct process *process = bpf_map_lookup_elem(&processes, &pid);

	/* An entry of a process that is gone, or of the program before an exec, counts as none. */
	if (!process || process->start_ns != s->sample.start_ns || process->exec_id != s->sample.exec_id) {
		struct process unknown = { .start_ns = s->sample.start_ns, .exec_id = s->sample.exec_id };
		struct event event = {
			.kind = EVENT_process_wanted,
			.pid = pid,
			.start_ns = s->sample.start_ns,
			.exec_id = s->sample.exec_id,
		};

		if (bpf_map_update_elem(&processes, &pid, &unknown, BPF_ANY)) {
			count(COUNTER_processes_full);
			s->process = unknown;
			return NULL;
		}
		if (!send(&event))
			bpf_map_delete_elem(&processes, &pid);
		s->process = unknown;
		return bpf_map_lookup_elem(&processes, &pid);
	}
	s->process = *process;
	return process;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 parent_pid = parent->tgid, pid = child->tgid;
	struct process *known;

	if (parent_pid == pid) /* a thread */
		return 0;
	if (only_targets) {
		u8 sampled = TARGET_SAMPLED;

		if (!bpf_map_lookup_elem(&targets, &parent_pid))
			return 0;
		if (bpf_map_update_elem(&targets, &pid, &sampled, BPF_ANY))
			count(COUNTER_processes_full);
	}
	known = bpf_map_lookup_elem(&processes, &parent_pid);
	if (!known || known->serial == 0)
		return 0;
	struct process copy = {
		.start_ns = child->start_boottime,
		.exec_id = child->self_exec_id,
		.serial = known->serial,
		.first = known->first,
		.count = known->count,
	};

	if (bpf_map_update_elem(&processes, &pid, &copy, BPF_ANY))
		count(COUNTER_processes_full);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	u32 pid = task->tgid;

	bpf_map_delete_elem(&processes, &pid);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	u32 pid = task->tgid;
	struct process *known;

	if (task->signal->live.counter != 0) /* other threads go on */
		return 0;
	if (only_targets)
		bpf_map_delete_elem(&targets, &pid);
	known = bpf_map_lookup_elem(&processes, &pid);
	if (!known)
		return 0;
	struct event event = {
		.kind = EVENT_process_exit,
		.pid = pid,
		.start_ns = known->start_ns,
		.exec_id = known->exec_id,
	};

	bpf_map_delete_elem(&processes, &pid);
	send_quietly(&event);
	return 0;
}
